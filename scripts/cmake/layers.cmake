# Layers: who may include whom. A layer's headers are reached as "<layer>/<file>.h" through a folder that holds a
# link to that layer alone, so that an include of a layer that was not named in DEPENDS does not build.

add_library(maas_flags INTERFACE)
target_compile_definitions(maas_flags INTERFACE _GNU_SOURCE)
target_compile_options(maas_flags INTERFACE
  -Wall -Wextra -Wshadow -Wvla -Wcast-qual -Wformat=2 -Wundef -Wpointer-arith
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes -Wconversion -Wno-sign-conversion>
  -Werror -fno-omit-frame-pointer -fno-common -fstack-protector-strong)
if(MAAS_SANITIZE)
  target_compile_options(maas_flags INTERFACE -fsanitize=${MAAS_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(maas_flags INTERFACE -fsanitize=${MAAS_SANITIZE})
  target_compile_definitions(maas_flags INTERFACE MAAS_SANITIZED=1)
else()
  target_compile_definitions(maas_flags INTERFACE MAAS_SANITIZED=0
    $<$<NOT:$<CONFIG:Debug>>:_FORTIFY_SOURCE=2>)
  target_link_options(maas_flags INTERFACE -Wl,-z,relro,-z,now)
endif()

# maas_layer(NAME DIR folder [DEPENDS targets…] [PRIVATE targets…])
# A static library maas_<NAME> of all .c and .cc files in the folder. PRIVATE: third parties that only this layer sees.
function(maas_layer name)
  cmake_parse_arguments(L "" "DIR" "DEPENDS;PRIVATE;EXCLUDE" ${ARGN})
  set(target maas_${name})
  set(link_dir ${CMAKE_BINARY_DIR}/layers/${name})
  file(MAKE_DIRECTORY ${link_dir})
  file(CREATE_LINK ${L_DIR} ${link_dir}/${name} SYMBOLIC)
  file(GLOB sources CONFIGURE_DEPENDS ${L_DIR}/*.c ${L_DIR}/*.cc)
  foreach(excluded ${L_EXCLUDE})
    list(REMOVE_ITEM sources ${L_DIR}/${excluded})
  endforeach()
  if(sources)
    add_library(${target} STATIC ${sources})
    target_include_directories(${target} PUBLIC ${link_dir})
    target_link_libraries(${target} PUBLIC ${L_DEPENDS} PRIVATE maas_flags ${L_PRIVATE})
  else()
    add_library(${target} INTERFACE)
    target_include_directories(${target} INTERFACE ${link_dir})
    target_link_libraries(${target} INTERFACE ${L_DEPENDS} ${L_PRIVATE})
  endif()
endfunction()

# A third-party library from pkg-config as maas_ext_<name>, its headers as system headers. Several folders may ask for it.
function(maas_external name pkg)
  if(TARGET maas_ext_${name})
    return()
  endif()
  pkg_check_modules(PC_${name} REQUIRED IMPORTED_TARGET ${pkg})
  add_library(maas_ext_${name} INTERFACE)
  target_include_directories(maas_ext_${name} SYSTEM INTERFACE ${PC_${name}_INCLUDE_DIRS})
  target_link_libraries(maas_ext_${name} INTERFACE ${PC_${name}_LINK_LIBRARIES})
endfunction()
