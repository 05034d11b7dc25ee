"""What a running job tells the program, and how often."""

import numpy as np
import pytest

from GenRegLogic.errors import Cancelled, DependencyError
from GenRegLogic.progress import Progress
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.worker import server
from GenRegLogic.worker.control import PREVIEW_SECONDS, PROGRESS_SECONDS, JobControl
from GenRegLogic.worker.messages import CHUNK, MESSAGE, encode

GRID = Geometry((4, 5, 6))


class Line:
    """A server that only remembers what is sent, and has what `say` put there."""

    def __init__(self):
        self.sent, self.frames, self.heeded = [], [], True

    def send(self, message, arrays=None):
        self.sent.append(message)

    def say(self, **message):
        self.frames.append((MESSAGE, encode(message)))

    def pending(self):
        while self.frames:
            yield self.frames.pop(0)

    def of(self, kind):
        return [message for message in self.sent if message["type"] == kind]


class Scene:
    """A line, a clock and a control over them."""

    def __init__(self, **parameters):
        self.line, self.now, self.asked = Line(), 0.0, 0
        self.control = JobControl(self.line, parameters, clock=lambda: self.now)

    def field(self):
        self.asked += 1
        return DisplacementField(np.zeros((*GRID.shape, 3)), GRID)

    def tell(self, stage="refine", objective=None, after=0.0, field=None):
        self.now += after
        place = (None, None) if objective is None else (1, 7)
        self.control.on_progress(Progress(stage, 0.5, None, objective, field or self.field, *place))


class TestProgress:
    def test_it_is_not_told_more_often_than_anybody_sees(self):
        scene = Scene()
        for _ in range(100):
            scene.tell("linear", after=PROGRESS_SECONDS / 10)
        assert 8 < len(scene.line.of("progress")) < 13

    def test_every_objective_is_told(self):
        scene = Scene()
        for n in range(20):
            scene.tell(objective=float(n))
        assert [m["objective"]["objective"] for m in scene.line.of("progress")] == list(range(20))
        assert scene.line.sent[0]["objective"] == {"level": 1, "iteration": 7, "objective": 0.0}

    def test_every_new_stage_is_told(self):
        scene = Scene()
        for stage in ("prepare", "linear", "propose"):
            scene.tell(stage)
        assert [m["stage"] for m in scene.line.of("progress")] == ["prepare", "linear", "propose"]

    def test_a_program_that_does_not_listen_is_told_only_what_matters(self):
        scene = Scene(preview=True)
        scene.line.heeded = False
        for stage in ("linear", "refine"):
            for n in range(5):
                scene.tell(stage, objective=float(n), after=10)
        assert [m["stage"] for m in scene.line.of("progress")] == ["linear", "refine"]


class TestPreviews:
    def test_a_field_is_made_only_when_it_will_be_shown(self):
        scene = Scene(preview=False)
        scene.tell(after=10)
        assert scene.asked == 0

    def test_none_is_sent_while_one_has_not_been_taken(self):
        scene = Scene(preview=True)
        for n in range(5):
            scene.tell(objective=float(n), after=10)
        assert scene.asked == len(scene.line.of("preview")) == 1
        scene.line.say(type="previewed")
        scene.control.cancel()
        scene.tell(after=10)
        assert scene.asked == 2

    def test_none_is_sent_sooner_than_half_a_second_after_another(self):
        scene = Scene(preview=True)
        scene.tell(objective=1.0)
        scene.control.note({"type": "previewed"})
        scene.tell(objective=1.0, after=PREVIEW_SECONDS * 0.9)
        assert scene.asked == 1
        scene.tell(objective=1.0, after=PREVIEW_SECONDS * 0.2)
        assert scene.asked == 2

    def test_stages_without_a_field_send_none(self):
        scene = Scene(preview=True)
        scene.tell("linear", field=lambda: None)
        assert scene.line.of("preview") == []

    def test_it_can_be_switched_while_it_runs(self):
        scene = Scene(preview=False)
        scene.line.say(type="preview", wanted=True)
        scene.control.cancel()
        scene.tell(after=10)
        assert scene.asked == 1


class TestAnswers:
    def test_without_a_word_the_job_goes_on(self):
        assert Scene().control.cancel() is None

    def test_the_word_is_heard_and_stays(self):
        scene = Scene()
        scene.line.say(type="answer", word="keep")
        assert scene.control.cancel() == "keep"
        assert scene.control.cancel() == "keep"

    @pytest.mark.parametrize("words", [("keep", "abort"), ("abort", "keep")])
    def test_abort_is_the_last_word(self, words):
        scene = Scene()
        for word in words:
            scene.line.say(type="answer", word=word)
        assert scene.control.cancel() == "abort"
        with pytest.raises(Cancelled):
            scene.control.check()

    def test_chunks_that_come_too_late_are_ignored(self):
        scene = Scene()
        scene.line.frames.append((CHUNK, b"123"))
        assert scene.control.cancel() is None


class TestLoading:
    def test_a_missing_package_is_named(self, monkeypatch):
        import builtins

        real = builtins.__import__

        def without(name, *rest):
            if name == "jobs":
                raise ImportError("No module named 'SimpleITK'", name="SimpleITK")
            return real(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(DependencyError, match=r"SimpleITK\) does not load|needs does not load \(SimpleITK\)"):
            server.load_jobs()

    def test_without_torch_no_gpu_is_held(self, monkeypatch):
        monkeypatch.delitem(server.sys.modules, "torch")
        assert server.holds_gpu() is False

    def test_on_a_cpu_no_gpu_is_held(self):
        import torch

        if torch.cuda.is_initialized():
            pytest.skip("another test of this process has used the GPU")
        assert server.holds_gpu() is False
