"""The weight file is small, holds numbers only, and is refused if it is not the right one."""

import numpy as np
import pytest
import torch

from GenRegLogic.errors import InputError
from GenRegLogic.network.model import Network
from GenRegLogic.network.weights import load_weights, save_weights


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A network, its weight file and the checksum of the file."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Network().eval()
    path = tmp_path_factory.mktemp("weights") / "weights.npz"
    return network, path, save_weights(network, path)


class TestRoundTrip:
    def test_weights_are_read_back_in_half_precision(self, saved):
        network, path, sha256 = saved
        read = load_weights(path, sha256).state_dict()
        assert read.keys() == network.state_dict().keys()
        for name, value in network.state_dict().items():
            assert torch.equal(value.half(), read[name].half())

    def test_saving_the_same_weights_gives_the_same_file(self, saved, tmp_path):
        network, _, sha256 = saved
        assert save_weights(network, tmp_path / "again.npz") == sha256

    def test_the_file_is_at_most_8_mebibytes(self, saved):
        assert saved[1].stat().st_size <= 8 * 2**20


class TestRefusals:
    def test_a_file_with_another_checksum_is_refused(self, saved):
        with pytest.raises(InputError, match="checksum differs"):
            load_weights(saved[1], "0" * 64)

    def test_a_missing_file_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="missing"):
            load_weights(tmp_path / "weights.npz")

    @pytest.mark.parametrize("keep", [0, 1000, 100_000])
    def test_a_truncated_file_is_refused(self, saved, tmp_path, keep):
        path = tmp_path / "short.npz"
        path.write_bytes(saved[1].read_bytes()[:keep])
        with pytest.raises(InputError, match="damaged"):
            load_weights(path)

    def test_a_single_array_instead_of_an_archive_is_refused(self, tmp_path):
        path = tmp_path / "network.npy"
        np.save(path, np.zeros(3))
        with pytest.raises(InputError, match="damaged"):
            load_weights(path)

    def test_a_file_that_lacks_an_array_is_refused(self, saved, tmp_path):
        arrays = dict(np.load(saved[1]))
        arrays.pop(next(iter(arrays)))
        np.savez(tmp_path / "other.npz", **arrays)
        with pytest.raises(InputError, match="another network"):
            load_weights(tmp_path / "other.npz")

    def test_a_file_with_an_array_of_another_shape_is_refused(self, saved, tmp_path):
        arrays = dict(np.load(saved[1]))
        name = next(name for name, value in arrays.items() if value.ndim == 5)
        arrays[name] = arrays[name][:1]
        np.savez(tmp_path / "other.npz", **arrays)
        with pytest.raises(InputError, match="another network"):
            load_weights(tmp_path / "other.npz")

    def test_weights_that_are_not_finite_are_refused(self, saved, tmp_path):
        arrays = dict(np.load(saved[1]))
        name = next(name for name, value in arrays.items() if value.ndim == 5)
        arrays[name] = np.full_like(arrays[name], np.nan)
        np.savez(tmp_path / "nan.npz", **arrays)
        with pytest.raises(InputError, match="damaged"):
            load_weights(tmp_path / "nan.npz")

    def test_a_file_with_pickled_objects_is_refused(self, saved, tmp_path):
        arrays = dict(np.load(saved[1]))
        arrays[next(iter(arrays))] = np.array([print], dtype=object)
        np.savez(tmp_path / "pickle.npz", **arrays)
        with pytest.raises(InputError, match="damaged"):
            load_weights(tmp_path / "pickle.npz")
