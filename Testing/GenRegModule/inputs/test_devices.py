"""The list of devices, and their stored speeds."""

import pytest

FOUND = {
    "devices": [
        {"id": "cpu", "name": "CPU", "memory_bytes": 16_000_000_000},
        {"id": "cuda:0", "name": "First card", "memory_bytes": 24_000_000_000},
        {"id": "cuda:1", "name": "Second card", "memory_bytes": 8_000_000_000},
    ]
}


@pytest.fixture
def devices(panel):
    return panel.panel.devices


def offered(panel):
    combo = panel.ui.deviceComboBox
    return [(combo.itemText(n), combo.itemData(n)) for n in range(combo.count)]


class TestTheList:
    def test_at_first_automatic_and_the_cpu_are_offered(self, panel):
        assert offered(panel) == [("Automatic", "auto"), ("CPU", "cpu")]

    def test_every_gpu_is_offered_with_its_name(self, panel, devices):
        devices.found(FOUND)
        assert offered(panel) == [
            ("Automatic", "auto"),
            ("First card", "cuda:0"),
            ("Second card", "cuda:1"),
            ("CPU", "cpu"),
        ]

    def test_a_selected_device_is_stored_in_the_parameters(self, panel, devices):
        devices.found(FOUND)
        panel.ui.deviceComboBox.setCurrentIndex(2)
        assert panel.parameters.device == "cuda:1"

    def test_a_selected_device_stays_selected_when_names_arrive(self, panel, devices):
        panel.parameters.device = "cuda:1"
        panel.settle()
        assert panel.ui.deviceComboBox.currentText == "cuda:1"
        devices.found(FOUND)
        assert panel.ui.deviceComboBox.currentText == "Second card"
        assert panel.parameters.device == "cuda:1"

    def test_a_device_of_another_machine_is_shown_as_not_found(self, panel, devices):
        devices.found(FOUND)
        panel.parameters.device = "cuda:7"
        panel.settle()
        assert panel.ui.deviceComboBox.currentText == "cuda:7 (not found here)"

    def test_the_worker_is_asked_once(self, panel, devices, fakes):
        devices.findOnce()
        devices.findOnce()
        panel.settle(5, until=lambda: fakes.worker.submitted)
        fakes.worker.end({"report": FOUND})
        panel.settle(5, until=lambda: len(offered(panel)) == 4)
        assert [job for job, _, _ in fakes.worker.submitted] == ["devices"]


class TestTheDeviceChosen:
    def test_automatic_is_the_cpu_while_no_device_is_known(self, devices):
        assert (devices.chosen().id, devices.chosen().memory) == ("cpu", None)

    def test_automatic_is_the_first_cuda_device(self, devices):
        devices.found(FOUND)
        assert (devices.chosen().id, devices.chosen().memory) == ("cuda:0", 24_000_000_000)

    def test_an_apple_gpu_is_used_only_when_selected(self, devices, panel):
        devices.found(
            {
                "devices": [
                    {"id": "cpu", "name": "CPU", "memory_bytes": 1},
                    {"id": "mps", "name": "Apple GPU", "memory_bytes": 2},
                ]
            }
        )
        assert devices.chosen().id == "cpu"
        panel.parameters.device = "mps"
        assert devices.chosen().words == "Apple GPU"


class TestSpeed:
    def test_the_speed_of_a_cpu_without_a_run_is_one(self, devices):
        assert devices.speed(devices.chosen()) == 1.0

    def test_the_speed_of_a_gpu_without_a_run_is_unknown(self, devices):
        devices.found(FOUND)
        assert devices.speed(devices.chosen()) is None

    def test_the_first_run_sets_the_speed(self, devices):
        devices.learn(30.0, 10.0)
        assert devices.speed(devices.chosen()) == pytest.approx(3.0)

    def test_later_runs_are_averaged_with_the_stored_speed(self, devices):
        devices.learn(30.0, 10.0)
        devices.learn(10.0, 10.0)
        assert devices.speed(devices.chosen()) == pytest.approx(2.0)

    def test_each_device_has_its_own_speed(self, devices, panel):
        devices.learn(30.0, 10.0)
        devices.found(FOUND)
        devices.learn(1.0, 10.0)
        assert devices.speed(devices.chosen()) == pytest.approx(0.1)
        panel.parameters.device = "cpu"
        assert devices.speed(devices.chosen()) == pytest.approx(3.0)

    def test_an_invalid_setting_is_ignored(self, devices, panel):
        panel.settings["GenReg/Speed/cpu"] = "fast"
        assert devices.speed(devices.chosen()) == 1.0

    @pytest.mark.parametrize(("measured", "estimated"), [(0.0, 5.0), (5.0, 0.0)])
    def test_times_of_zero_are_ignored(self, devices, panel, measured, estimated):
        devices.learn(measured, estimated)
        assert panel.settings == {}
