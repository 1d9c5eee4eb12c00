# find_package(maas CONFIG): maas::sdk (the headers), maas::plugin-check (the program), and
#
#     maas_add_plugin(com.acme.ranker source...)
#
# a target of that name which builds com.acme.ranker.so as the gateway wants it.
get_filename_component(MAAS_PREFIX "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
set(MAAS_PLUGIN_MAP "${MAAS_PREFIX}/share/maas/plugin.map")

if(NOT TARGET maas::sdk)
  add_library(maas::sdk INTERFACE IMPORTED)
  set_target_properties(maas::sdk PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${MAAS_PREFIX}/include")
  add_executable(maas::plugin-check IMPORTED)
  set_target_properties(maas::plugin-check PROPERTIES IMPORTED_LOCATION "${MAAS_PREFIX}/bin/maas-plugin-check")
endif()

function(maas_add_plugin id)
  add_library(${id} MODULE ${ARGN})
  set_target_properties(${id} PROPERTIES PREFIX "" OUTPUT_NAME ${id} C_VISIBILITY_PRESET hidden
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON POSITION_INDEPENDENT_CODE ON)
  target_link_libraries(${id} PRIVATE maas::sdk -Wl,--version-script=${MAAS_PLUGIN_MAP} -Wl,-z,defs)
endfunction()
