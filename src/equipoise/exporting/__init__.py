"""A trained generator elsewhere: safetensors, ONNX, the Hugging Face Hub, a page; and weights from elsewhere here."""
