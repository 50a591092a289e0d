# SPDX-License-Identifier: BSD-3-Clause
# The build vocabulary of the project: flags for all targets, one library per layer, one test per file.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_EXTENSIONS ON) # gnu17: headers of task engines refuse strict C17
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(sp_flags INTERFACE)
target_compile_options(sp_flags INTERFACE
    -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Wformat=2
    $<$<BOOL:${SPICA_WERROR}>:-Werror>
    -fno-math-errno -fno-trapping-math
    $<$<AND:$<BOOL:${SPICA_NATIVE}>,$<CONFIG:Release>>:-march=native>)
target_compile_definitions(sp_flags INTERFACE SPICA_VERSION="${PROJECT_VERSION}" _GNU_SOURCE)
target_include_directories(sp_flags INTERFACE ${CMAKE_SOURCE_DIR}/lib ${CMAKE_SOURCE_DIR}/apps/spi)

# sp_library(NAME PARENT NEEDS layers... USES external targets...): every .c file of PARENT/NAME, as static library sp_NAME
function(sp_library name parent)
    cmake_parse_arguments(ARG "" "" "NEEDS;USES" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${parent}/${name}/*.c)
    add_library(sp_${name} STATIC ${sources})
    list(TRANSFORM ARG_NEEDS PREPEND sp_)
    target_link_libraries(sp_${name} PUBLIC ${ARG_NEEDS} ${ARG_USES} sp_flags)
endfunction()

# sp_tests(LAYER): every tests/LAYER/test_*.c is one program, known to ctest as LAYER.<name>
function(sp_tests layer)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${layer}/test_*.c)
    foreach(source ${sources})
        get_filename_component(program ${source} NAME_WE)
        string(REPLACE test_ "" noun ${program})
        add_executable(test_${layer}_${noun} ${source})
        target_link_libraries(test_${layer}_${noun} PRIVATE sp_${layer} PkgConfig::CMOCKA)
        target_include_directories(test_${layer}_${noun} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
        add_test(NAME ${layer}.${noun} COMMAND test_${layer}_${noun})
    endforeach()
endfunction()
