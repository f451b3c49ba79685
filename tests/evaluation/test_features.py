"""The cache of statistics: what was stored is read back, and nothing else is."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from equipoise.evaluation.features import load_statistics, save_statistics
from equipoise.metrics import Statistics


def test_only_files_of_the_cache_itself_are_read_from_it(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.safetensors"
    statistics = Statistics(count=2, vectors=torch.arange(6.0).view(2, 3))
    assert load_statistics(file) is None, "there is none yet"
    save_statistics(file, statistics)
    loaded = load_statistics(file)
    assert loaded is not None
    assert loaded.count == 2
    assert torch.equal(torch.as_tensor(loaded.vectors), torch.arange(6.0).view(2, 3))
    whole = file.read_bytes()
    for place in range(len(whole)):  # one bit, anywhere
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert load_statistics(file) is None, place
    for contents in (whole[:-1], b"", b"\xff" * 100):
        file.write_bytes(contents)
        assert load_statistics(file) is None
    save_file({"vectors": torch.zeros(2, 3)}, file)
    assert load_statistics(file) is None, "another file of tensors"
    file.unlink()
    file.mkdir()
    assert load_statistics(file) is None
    save_statistics(file, statistics)  # which the disk refuses: no error
