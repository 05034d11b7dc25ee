"""torch missing, too old, declined or installed: questions and messages. Nothing is installed here."""

import sys
from types import ModuleType

import pytest


@pytest.fixture
def dependencies(part):
    return part("dependencies")


class Installer:
    """A stand-in for the PyTorch extension's logic."""

    def __init__(self, succeeds=True, error=None):
        self.installed, self.asked, self._succeeds, self._error = False, [], succeeds, error

    def installTorch(self, askConfirmation=False, torchVersionRequirement=None):
        self.asked.append((askConfirmation, torchVersionRequirement))
        if self._error is not None:
            raise self._error
        self.installed = self._succeeds


@pytest.fixture
def ensure(dependencies, host, scene):
    """Calls `ensureTorch` without torch, until the installer has run."""

    def call(installer):
        dependencies.ensureTorch(lambda: installer.installed, lambda: installer, lambda: (2, 9))

    return call


class TestTorchIsInstalled:
    def test_there_is_no_question(self, dependencies, host, scene):
        dependencies.ensureTorch(lambda: True, None, lambda: (2, 5))
        assert host.messages == []

    def test_checking_does_not_import_torch(self, dependencies, monkeypatch):
        monkeypatch.delitem(sys.modules, "torch", raising=False)
        dependencies.torchInstalled()
        dependencies.torchVersion()
        assert "torch" not in sys.modules

    def test_a_version_that_is_too_old_is_refused_with_what_to_do(self, dependencies):
        from GenRegLogic.errors import DependencyError

        with pytest.raises(DependencyError, match=r"needs PyTorch 2\.5 or later, and 2\.1 is installed: uninstall"):
            dependencies.ensureTorch(lambda: True, None, lambda: (2, 1))

    def test_an_unknown_version_is_accepted(self, dependencies, host, scene):
        dependencies.ensureTorch(lambda: True, None, lambda: None)
        assert host.messages == []

    def test_a_development_version_is_parsed(self, dependencies, monkeypatch):
        monkeypatch.setattr(dependencies.importlib.metadata, "version", lambda name: "2.9.0a0+git1234")
        assert dependencies.torchVersion() == (2, 9)


class TestTorchIsMissing:
    def test_without_the_extension_the_message_says_what_to_install(self, dependencies, host, scene):
        from GenRegLogic.errors import DependencyError

        def findInstaller():
            raise ModuleNotFoundError("PyTorchUtils")

        with pytest.raises(DependencyError, match="install the extension PyTorch in the Extensions Manager"):
            dependencies.ensureTorch(lambda: False, findInstaller)
        assert host.messages == []

    def test_the_extension_is_found_by_its_module_name(self, dependencies, host, scene, monkeypatch):
        installer, module = Installer(), ModuleType("PyTorchUtils")
        module.PyTorchUtilsLogic = lambda: installer
        monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
        host.answers.append("Ok")
        dependencies.ensureTorch(lambda: installer.installed)
        assert installer.asked == [(False, ">=2.5")]

    def test_the_user_is_asked_and_torch_is_installed(self, ensure, host):
        installer = Installer()
        host.answers.append("Ok")
        ensure(installer)
        assert [message.kind for message in host.messages] == ["question"]
        assert installer.asked == [(False, ">=2.5")]

    def test_declining_installs_nothing(self, ensure, host):
        from GenRegLogic.errors import Cancelled

        installer = Installer()
        host.answers.append("Cancel")
        with pytest.raises(Cancelled, match="not installed"):
            ensure(installer)
        assert installer.asked == []

    def test_a_failed_installation_is_reported_with_one_sentence(self, ensure, host):
        from GenRegLogic.errors import DependencyError

        host.answers.append("Ok")
        with pytest.raises(DependencyError, match="check the network"):
            ensure(Installer(error=RuntimeError("pip failed with 30 lines of output")))

    def test_an_installation_without_effect_is_reported(self, ensure, host):
        from GenRegLogic.errors import DependencyError

        host.answers.append("Ok")
        with pytest.raises(DependencyError, match="could not be installed"):
            ensure(Installer(succeeds=False))


class TestThePanelWithoutTorch:
    def test_it_opens_and_the_first_run_shows_what_to_do(self, ready):
        from GenRegLogic.errors import DependencyError

        def missing():
            raise DependencyError("Install the extension PyTorch.")

        ready.needs.append(missing)
        ready.press("runButton")
        assert ready.texts() == ["Install the extension PyTorch."]
        assert ready.fakes.runs == []
        assert ready.ui.runButton.visible

    def test_declining_shows_a_line_but_no_error(self, ready):
        from GenRegLogic.errors import Cancelled

        def declined():
            raise Cancelled("PyTorch was not installed, so nothing was computed.")

        ready.needs.append(declined)
        ready.press("runButton")
        assert ready.texts() == []
        assert "not installed" in ready.ui.progressLabel.text
