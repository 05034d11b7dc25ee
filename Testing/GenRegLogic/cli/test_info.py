"""`genreg info`: what a bug report should contain."""

from types import SimpleNamespace

from GenRegLogic.network.apply import SHA256
from GenRegLogic.version import __version__


def test_version_devices_weights_and_dependencies_are_listed(genreg):
    ran = genreg("info")
    assert ran.code == 0
    assert ran.out.startswith(f"GenReg {__version__}\n")
    for word in ("\nDevices\n", "  cpu ", "\nWeights\n", "\nDependencies\n", "torch", "numpy", "simpleitk", "python"):
        assert word in ran.out


def test_the_networks_weights_are_named_by_their_checksum(genreg):
    assert f"network.npz, 1.2 MB, SHA-256 {SHA256[:12]}" in genreg("info").out


def test_missing_weights_are_reported(genreg, monkeypatch, tmp_path):
    monkeypatch.setattr("GenRegLogic.network.apply.WEIGHTS", tmp_path / "network.npz")
    ran = genreg("info")
    assert ran.code == 0
    assert "weights are missing (network.npz); install GenReg again." in ran.out


def test_a_gpu_is_listed_by_its_name_with_its_total_memory_and_without_a_context(genreg, monkeypatch):
    def creates_a_context(device):
        raise AssertionError("asking for the free memory creates a context")

    gpu = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: False,
        device_count=lambda: 1,
        get_device_properties=lambda number: SimpleNamespace(name="Imaginary 3000", total_memory=4 * 2**30),
        get_device_name=lambda number: "Imaginary 3000",
        mem_get_info=creates_a_context,
    )
    monkeypatch.setattr("torch.cuda", gpu)
    assert "cuda:0   Imaginary 3000, 4.0 GiB in total" in genreg("info").out
