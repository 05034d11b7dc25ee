"""Messages of ITK's libraries are suppressed inside a block, and shown again after it."""

import os
import threading

import pytest
import SimpleITK as sitk

from GenRegLogic.machine.libraries import quiet_itk


def write():
    os.write(2, b"library\n")


def test_messages_are_suppressed_inside_the_block_only(capfd):
    with quiet_itk():
        write()
    assert capfd.readouterr().err == ""
    write()
    assert capfd.readouterr().err == "library\n"


def test_nested_blocks_suppress_messages_until_the_outermost_ends(capfd):
    with quiet_itk():
        with quiet_itk():
            pass
        write()
    assert capfd.readouterr().err == ""


def test_an_error_inside_the_block_restores_the_messages(capfd):
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    with pytest.raises(ValueError, match="inside"), quiet_itk():
        raise ValueError("inside")
    assert sitk.ProcessObject.GetGlobalWarningDisplay() == shown
    write()
    assert capfd.readouterr().err == "library\n"


def test_messages_are_shown_again_after_the_last_of_overlapping_threads(capfd):
    entered, leave = threading.Event(), threading.Event()

    def other():
        with quiet_itk():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with quiet_itk():
        thread.start()
        entered.wait()
    write()  # the other thread is still inside its block
    leave.set()
    thread.join()
    write()
    assert capfd.readouterr().err == "library\n"
