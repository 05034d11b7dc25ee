# The extension has nothing to compile, but Slicer's macros need its project to have compilers: CMake itself stands in for
# them, so that the extension can be configured on a machine that has none.
foreach(language C CXX)
  set(CMAKE_${language}_COMPILER "${CMAKE_COMMAND}")
  set(CMAKE_${language}_COMPILER_FORCED TRUE)
  set(CMAKE_${language}_COMPILER_ID_RUN TRUE)
  set(CMAKE_${language}_COMPILER_ID "GNU")
  set(CMAKE_${language}_COMPILER_VERSION "14.0")
endforeach()
