# A stand-in for an installed 3D Slicer, for `find_package(Slicer)`: just enough to configure, build, install and list
# the tests of this extension. The macros below take what Slicer 5.12's take, refuse what Slicer's refuse, and put files
# where Slicer's put them; nothing is byte-compiled, and no test is run.

set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/Extension.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/Extension.cmake")
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR "lib/Slicer-5.12/qt-scripted-modules")
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR "${Slicer_QTSCRIPTEDMODULES_LIB_DIR}")
set(Slicer_LAUNCHER_EXECUTABLE "${CMAKE_COMMAND}" CACHE FILEPATH "Stands in for Slicer's launcher")
set(Slicer_FOUND TRUE)
