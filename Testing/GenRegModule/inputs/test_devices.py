"""Devices by their names, and what is remembered of their speed."""

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
    def test_at_first_it_is_automatic_or_the_cpu(self, panel):
        assert offered(panel) == [("Automatic", "auto"), ("CPU", "cpu")]

    def test_every_gpu_is_offered_by_its_name(self, panel, devices):
        devices._onFound(FOUND)
        assert offered(panel) == [
            ("Automatic", "auto"),
            ("First card", "cuda:0"),
            ("Second card", "cuda:1"),
            ("CPU", "cpu"),
        ]

    def test_a_choice_is_kept_in_the_scene(self, panel, devices):
        devices._onFound(FOUND)
        panel.ui.deviceComboBox.setCurrentIndex(2)
        assert panel.parameters.device == "cuda:1"

    def test_a_choice_outlives_the_arrival_of_names(self, panel, devices):
        panel.parameters.device = "cuda:1"
        panel.settle()
        assert panel.ui.deviceComboBox.currentText == "cuda:1"
        devices._onFound(FOUND)
        assert panel.ui.deviceComboBox.currentText == "Second card"
        assert panel.parameters.device == "cuda:1"

    def test_a_device_of_another_machine_is_said_to_be_missing(self, panel, devices):
        devices._onFound(FOUND)
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
    def test_automatic_is_the_cpu_as_long_as_nothing_else_is_known(self, devices):
        assert (devices.chosen().id, devices.chosen().memory) == ("cpu", None)

    def test_automatic_is_the_first_gpu_as_the_engine_has_it(self, devices):
        devices._onFound(FOUND)
        assert (devices.chosen().id, devices.chosen().memory) == ("cuda:0", 24_000_000_000)

    def test_an_apple_gpu_is_only_used_when_asked_for(self, devices, panel):
        devices._onFound(
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
    def test_a_cpu_is_as_fast_as_the_estimate_until_it_has_run(self, devices):
        assert devices.speed(devices.chosen()) == 1.0

    def test_nothing_is_known_of_a_gpu_until_it_has_run(self, devices):
        devices._onFound(FOUND)
        assert devices.speed(devices.chosen()) is None

    def test_the_first_run_tells(self, devices):
        devices.learn(30.0, 10.0)
        assert devices.speed(devices.chosen()) == pytest.approx(3.0)

    def test_later_runs_correct_it(self, devices):
        devices.learn(30.0, 10.0)
        devices.learn(10.0, 10.0)
        assert devices.speed(devices.chosen()) == pytest.approx(2.0)

    def test_each_device_has_its_own(self, devices, panel):
        devices.learn(30.0, 10.0)
        devices._onFound(FOUND)
        devices.learn(1.0, 10.0)
        assert devices.speed(devices.chosen()) == pytest.approx(0.1)
        panel.parameters.device = "cpu"
        assert devices.speed(devices.chosen()) == pytest.approx(3.0)

    def test_an_invalid_setting_is_ignored(self, devices, panel):
        panel.settings["GenReg/Speed/cpu"] = "fast"
        assert devices.speed(devices.chosen()) == 1.0

    @pytest.mark.parametrize(("measured", "estimated"), [(0.0, 5.0), (5.0, 0.0)])
    def test_times_that_say_nothing_are_not_learned(self, devices, panel, measured, estimated):
        devices.learn(measured, estimated)
        assert panel.settings == {}
