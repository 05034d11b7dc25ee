# What Slicer checks before it packs an extension; one file stands in for both of its includes.
foreach(name EXTENSION_HOMEPAGE EXTENSION_DESCRIPTION EXTENSION_CONTRIBUTORS EXTENSION_ICONURL
    EXTENSION_SCREENSHOTURLS EXTENSION_DEPENDS)
  if("${${name}}" STREQUAL "")
    message(FATAL_ERROR "${name} is not set.")
  endif()
endforeach()
foreach(name EXTENSION_LICENSE_FILE EXTENSION_README_FILE)
  if(NOT EXISTS "${${name}}")
    message(FATAL_ERROR "${name} names ${${name}}, which does not exist.")
  endif()
endforeach()
