"""`genreg info`: what somebody would paste into a report of a problem."""

from types import SimpleNamespace

from GenRegLogic.network.learned import SHA256
from GenRegLogic.version import __version__


def test_version_devices_weights_and_dependencies_are_listed(genreg):
    ran = genreg("info")
    assert ran.code == 0
    assert ran.out.startswith(f"GenReg {__version__}\n")
    for word in ("\nDevices\n", "  cpu ", "\nWeights\n", "\nDependencies\n", "torch", "numpy", "simpleitk", "python"):
        assert word in ran.out


def test_the_networks_weights_are_named_by_their_checksum(genreg):
    assert f"network.npz, 1.2 MB, SHA-256 {SHA256[:12]}" in genreg("info").out


def test_weights_of_another_network_are_told(genreg, monkeypatch, tmp_path):
    monkeypatch.setattr("GenRegLogic.network.learned.WEIGHTS", tmp_path / "network.npz")
    ran = genreg("info")
    assert ran.code == 0
    assert "weights are missing (network.npz); install GenReg again." in ran.out


def test_a_gpu_is_listed_by_its_name_with_its_free_memory(genreg, monkeypatch):
    gpu = SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 1,
        get_device_name=lambda number: "Imaginary 3000",
        mem_get_info=lambda number: (3 * 2**30, 4 * 2**30),
    )
    monkeypatch.setattr("torch.cuda", gpu)
    assert "cuda:0   Imaginary 3000, 3.0 GiB free" in genreg("info").out
