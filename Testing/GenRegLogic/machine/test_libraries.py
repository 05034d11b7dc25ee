"""Silence while ITK works, and sound again afterwards."""

import os
import threading

import pytest
import SimpleITK as sitk

from GenRegLogic.machine.libraries import quiet_itk


def shout():
    os.write(2, b"library\n")


def test_what_libraries_write_is_not_seen_inside_and_is_seen_after(capfd):
    with quiet_itk():
        shout()
    assert capfd.readouterr().err == ""
    shout()
    assert capfd.readouterr().err == "library\n"


def test_nesting_stays_silent_until_the_outermost_ends(capfd):
    with quiet_itk():
        with quiet_itk():
            pass
        shout()
    assert capfd.readouterr().err == ""


def test_an_error_inside_restores_everything(capfd):
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    with pytest.raises(ValueError, match="inside"), quiet_itk():
        raise ValueError("inside")
    assert sitk.ProcessObject.GetGlobalWarningDisplay() == shown
    shout()
    assert capfd.readouterr().err == "library\n"


def test_overlapping_threads_leave_the_terminal_as_it_was(capfd):
    entered, leave = threading.Event(), threading.Event()

    def other():
        with quiet_itk():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with quiet_itk():
        thread.start()
        entered.wait()
    shout()  # the other thread is still reading
    leave.set()
    thread.join()
    shout()
    assert capfd.readouterr().err == "library\n"
