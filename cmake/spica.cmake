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

# Labels for ctest -L: the layer; `threads` where it uses OpenMP; `slow` for pipelines; `house` for checks of the source tree.

# sp_tests(LAYER): every tests/LAYER/test_*.c is one program, known to ctest as LAYER.<name>
function(sp_tests layer)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${layer}/test_*.c)
    get_target_property(needs sp_${layer} LINK_LIBRARIES)
    set(labels ${layer})
    if("OpenMP::OpenMP_C" IN_LIST needs)
        list(APPEND labels threads)
    endif()
    foreach(source ${sources})
        get_filename_component(program ${source} NAME_WE)
        string(REPLACE test_ "" noun ${program})
        add_executable(test_${layer}_${noun} ${source})
        target_link_libraries(test_${layer}_${noun} PRIVATE sp_${layer} PkgConfig::CMOCKA)
        target_include_directories(test_${layer}_${noun} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
        sp_test(${layer}.${noun} LABELS ${labels} COMMAND test_${layer}_${noun})
    endforeach()
endfunction()

# sp_pipeline_tests(LAYER): every tests/LAYER/*.sh is a run of the program, known to ctest as LAYER.<name>; the script gets
# the path of spica as $1, a fresh folder to work in, and the folder of the examples as $SPICA_EXAMPLES
function(sp_pipeline_tests layer)
    file(GLOB scripts CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${layer}/*.sh)
    foreach(script ${scripts})
        get_filename_component(name ${script} NAME_WE)
        string(REPLACE test_ "" name ${name})
        sp_test(${layer}.${name} LABELS ${layer} slow
            COMMAND sh ${CMAKE_SOURCE_DIR}/tests/tools/pipeline.sh ${script} $<TARGET_FILE:spica>)
    endforeach()
endfunction()

# sp_test(NAME LABELS labels... COMMAND command...): one test with the environment that all share
function(sp_test name)
    cmake_parse_arguments(ARG "" "" "LABELS;COMMAND" ${ARGN})
    add_test(NAME ${name} COMMAND ${ARG_COMMAND})
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 600
        ENVIRONMENT SPICA_EXAMPLES=${CMAKE_SOURCE_DIR}/examples)
endfunction()
