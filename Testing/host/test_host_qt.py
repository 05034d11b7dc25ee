"""Qt with PythonQt's interface."""

import pytest


@pytest.fixture
def button(host):
    """A push button that is not shown."""
    import qt

    return qt.QPushButton("Run")


class TestProperties:
    def test_a_property_is_an_attribute(self, button):
        button.text = "Cancel"
        button.enabled = False
        assert (button.text, button.enabled) == ("Cancel", False)

    def test_a_property_can_not_be_called(self, button):
        with pytest.raises(TypeError):
            button.text()

    def test_setters_and_property_can_be_used(self, button):
        button.setText("Stop")
        assert button.property("text") == "Stop"

    def test_an_unknown_name_can_not_be_read(self, button):
        with pytest.raises(AttributeError):
            _ = button.txet

    def test_an_unknown_name_can_not_be_set(self, button):
        with pytest.raises(AttributeError, match="txet"):
            button.txet = "Run"

    def test_a_value_of_the_wrong_type_is_refused(self, button):
        with pytest.raises(AttributeError, match="does not accept"):
            button.enabled = "no way"
        with pytest.raises(AttributeError, match="does not accept"):
            button.text = None

    def test_a_read_only_property_can_not_be_set(self, button):
        with pytest.raises(AttributeError, match="not writable"):
            button.isActiveWindow = True

    def test_enumerations_and_sizes_can_be_set_and_read(self, host):
        import qt

        label = qt.QLabel()
        label.alignment = qt.Qt.AlignRight
        assert label.alignment & qt.Qt.AlignRight
        assert qt.QWidget().size.width() > 0

    def test_a_widget_has_the_name_and_class_that_slicer_util_reads(self, button):
        button.name = "runButton"
        assert (button.objectName, button.className()) == ("runButton", "QPushButton")

    def test_a_class_of_the_module_may_have_attributes_of_its_own(self, host):
        import qt

        class Mine(qt.QWidget):
            pass

        mine = Mine()
        mine.answer = 42
        assert mine.answer == 42


class TestSignals:
    def test_a_callable_receives_as_many_values_as_it_accepts(self, button):
        heard = []
        button.checkable = True
        button.connect("clicked(bool)", lambda: heard.append("none"))
        button.connect("clicked(bool)", heard.append)
        button.click()
        assert heard == ["none", True]

    def test_a_signal_needs_its_types(self, button):
        with pytest.raises(AttributeError, match="types"):
            button.connect("clicked", print)

    def test_an_unknown_signal_is_refused(self, button):
        with pytest.raises(AttributeError, match="no signal"):
            button.connect("clicked(int)", print)

    def test_a_disconnected_callable_is_not_called(self, button):
        heard = []
        button.connect("clicked()", lambda: heard.append(1))
        other = lambda: heard.append(2)  # noqa: E731
        button.connect("clicked()", other)
        assert button.disconnect("clicked()", other)
        assert not button.disconnect("clicked()", other)
        button.click()
        assert heard == [1]

    def test_an_error_in_a_slot_is_printed_and_recorded(self, host, button, capsys):
        def fail():
            raise ValueError("from the slot")

        button.connect("clicked()", fail)
        button.click()
        assert "from the slot" in capsys.readouterr().err
        with pytest.raises(ValueError, match="from the slot"):
            host.processEvents()

    def test_a_timer_times_out(self, host):
        import qt

        ticks = []
        timer = qt.QTimer()
        timer.interval = 1
        timer.singleShot = True
        timer.connect("timeout()", lambda: ticks.append(1))
        timer.start()
        assert host.processEvents(10, until=lambda: ticks)

    def test_single_shot_can_be_called_on_the_class(self, host):
        import qt

        done = []
        qt.QTimer.singleShot(0, lambda: done.append(1))
        assert host.processEvents(10, until=lambda: done)


class TestModuleQt:
    def test_names_that_only_pyside_has_are_missing(self, host):
        import qt

        assert not hasattr(qt, "SIGNAL")
        assert qt.Qt.ShiftModifier
        assert qt.QUiLoader

    def test_a_string_list_is_a_tuple(self, host):
        import qt

        assert isinstance(qt.QSettings().allKeys(), tuple)

    def test_an_unknown_ctk_widget_is_missing_rather_than_empty(self, host):
        import ctk

        with pytest.raises(AttributeError):
            _ = ctk.ctkPathLineEdit
