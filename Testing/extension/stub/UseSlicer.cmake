include(CTest)

# Refuses a file that does not exist, as Slicer's macros do.
function(stub_require_files what)
  foreach(file IN LISTS ARGN)
    if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
      message(FATAL_ERROR "${what} names the file ${file}, which does not exist.")
    endif()
  endforeach()
endfunction()

function(ctkMacroCompilePythonScript)
  cmake_parse_arguments(MY "NO_INSTALL_SUBDIR;GLOBAL_TARGET" "TARGET_NAME;SOURCE_DIR;DESTINATION_DIR;INSTALL_DIR"
    "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS OR NOT MY_TARGET_NAME OR NOT MY_SCRIPTS OR NOT MY_DESTINATION_DIR OR NOT MY_INSTALL_DIR)
    message(FATAL_ERROR "ctkMacroCompilePythonScript: missing or unknown arguments (${MY_UNPARSED_ARGUMENTS}).")
  endif()
  stub_require_files("${MY_TARGET_NAME}" ${MY_SCRIPTS} ${MY_RESOURCES})
  set(copies)
  foreach(file IN LISTS MY_SCRIPTS MY_RESOURCES)
    add_custom_command(OUTPUT "${MY_DESTINATION_DIR}/${file}" DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${file}"
      COMMAND ${CMAKE_COMMAND} -E copy "${CMAKE_CURRENT_SOURCE_DIR}/${file}" "${MY_DESTINATION_DIR}/${file}")
    list(APPEND copies "${MY_DESTINATION_DIR}/${file}")
  endforeach()
  add_custom_target(Copy${MY_TARGET_NAME}PythonFiles ALL DEPENDS ${copies})
  set(contents)
  if(MY_NO_INSTALL_SUBDIR)
    set(contents "/")
  endif()
  install(DIRECTORY "${MY_DESTINATION_DIR}${contents}" DESTINATION "${MY_INSTALL_DIR}")
endfunction()

function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS OR NOT MY_NAME)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: missing or unknown arguments (${MY_UNPARSED_ARGUMENTS}).")
  endif()
  ctkMacroCompilePythonScript(TARGET_NAME ${MY_NAME} NO_INSTALL_SUBDIR SCRIPTS ${MY_SCRIPTS} RESOURCES ${MY_RESOURCES}
    DESTINATION_DIR "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}"
    INSTALL_DIR "${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR}")
  if(BUILD_TESTING AND MY_WITH_GENERIC_TESTS)
    stub_add_test(nomainwindow_ "qSlicer${MY_NAME}ModuleGenericTest.py" --no-main-window --disable-cli-modules)
  endif()
endfunction()

function(stub_add_test prefix script)
  get_filename_component(name "${script}" NAME_WE)
  add_test(NAME "py_${prefix}${name}" COMMAND ${Slicer_LAUNCHER_EXECUTABLE} --no-splash --testing ${ARGN}
    --additional-module-paths "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}" --python-code "${name}")
endfunction()

function(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "TESTNAME_PREFIX;SCRIPT" "SLICER_ARGS" ${ARGN})
  if(NOT IS_ABSOLUTE "${MY_SCRIPT}")
    stub_require_files("slicer_add_python_unittest" "${MY_SCRIPT}")
  endif()
  stub_add_test("${MY_TESTNAME_PREFIX}" "${MY_SCRIPT}" ${MY_SLICER_ARGS})
endfunction()
