"""A trained generator taken elsewhere: safetensors, ONNX, the Hugging Face Hub, a page; and others' weights brought here."""
