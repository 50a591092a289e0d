# SPDX-License-Identifier: BSD-3-Clause
# The build vocabulary of the project: flags for all targets, one library per layer, one test per file.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_EXTENSIONS ON) # gnu17: headers of task engines refuse strict C17
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(sp_flags INTERFACE)
target_compile_options(sp_flags INTERFACE
    -Wall -Wextra -Wshadow -Wvla -Wundef -Wformat=2
    $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes> $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>
    $<$<BOOL:${SPICA_WERROR}>:-Werror>
    -fno-math-errno -fno-trapping-math)
target_compile_definitions(sp_flags INTERFACE SPICA_VERSION="${PROJECT_VERSION}" _GNU_SOURCE)
target_include_directories(sp_flags INTERFACE ${CMAKE_SOURCE_DIR}/lib ${CMAKE_SOURCE_DIR}/apps/spi)

# One program runs on every processor of its kind: nothing is compiled for the machine that builds it. These are
# the instruction sets that kernels are compiled for, each with the floats of its vectors and its flags; which one runs is
# chosen at run time (lib/num/isa.h). All optimised in every build type: a test of unoptimised vector code takes minutes.
set(SPICA_ISA_plain 4 "")
set(SPICA_ISA_avx2 8 "-march=x86-64-v3")
set(SPICA_ISA_avx512 16 "-march=x86-64-v4;-mprefer-vector-width=512")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set(SPICA_ISAS plain avx2 avx512)
else()
    set(SPICA_ISAS plain)
endif()

# sp_library(NAME PARENT NEEDS layers... USES external targets...): every .c file of PARENT/NAME, as static library sp_NAME
function(sp_library name parent)
    cmake_parse_arguments(ARG "" "" "NEEDS;USES" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${parent}/${name}/*.c)
    add_library(sp_${name} STATIC ${sources})
    list(TRANSFORM ARG_NEEDS PREPEND sp_)
    target_link_libraries(sp_${name} PUBLIC ${ARG_NEEDS} ${ARG_USES} sp_flags)
    sp_variants(${name} ${parent})
endfunction()

# sp_variants(NAME PARENT): every .c file of PARENT/NAME/variants, once for each instruction set, into sp_NAME
function(sp_variants name parent)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${parent}/${name}/variants/*.c)
    if(NOT sources)
        return()
    endif()
    foreach(isa ${SPICA_ISAS})
        list(GET SPICA_ISA_${isa} 0 lanes)
        list(SUBLIST SPICA_ISA_${isa} 1 -1 flags)
        add_library(sp_${name}_${isa} OBJECT ${sources})
        target_link_libraries(sp_${name}_${isa} PRIVATE sp_flags)
        target_compile_options(sp_${name}_${isa} PRIVATE -O3 ${flags})
        target_compile_definitions(sp_${name}_${isa} PRIVATE SP_ISA=${isa} SP_LANES=${lanes})
        target_sources(sp_${name} PRIVATE $<TARGET_OBJECTS:sp_${name}_${isa}>)
        target_compile_definitions(sp_${name} PUBLIC SP_HAS_${isa}=1)
    endforeach()
endfunction()

# sp_starpu(): the engine of many processes (lib/run/starpu.c), where StarPU and MPI are installed
function(sp_starpu)
    pkg_check_modules(STARPU IMPORTED_TARGET starpumpi-1.3 starpu-1.3)
    find_package(MPI COMPONENTS C)
    if(STARPU_FOUND AND MPI_C_FOUND)
        target_link_libraries(sp_run PRIVATE PkgConfig::STARPU MPI::MPI_C)
        target_compile_definitions(sp_run PRIVATE SP_HAS_STARPU=1)
        message(STATUS "the engine starpu is built: StarPU ${STARPU_starpu-1.3_VERSION}")
    else()
        message(STATUS "the engine starpu is left out: StarPU or MPI not found")
    endif()
endfunction()

# sp_peer(NAME HEADER LIBRARY): a library that `spica bench` loads while it runs, if it is there; nothing is linked to it
function(sp_peer name header library)
    find_path(SPICA_${name}_INCLUDE ${header})
    find_library(SPICA_${name}_LIBRARY ${library})
    if(SPICA_${name}_INCLUDE AND SPICA_${name}_LIBRARY)
        target_include_directories(sp_bench SYSTEM PRIVATE ${SPICA_${name}_INCLUDE})
        target_compile_definitions(sp_bench PRIVATE SP_PEER_${name}="${SPICA_${name}_LIBRARY}")
        message(STATUS "spica bench compares with ${SPICA_${name}_LIBRARY}")
    else()
        message(STATUS "spica bench does without ${library}: not found")
    endif()
endfunction()

# Labels for ctest -L: the layer; `threads` where it uses OpenMP; `slow` for pipelines; `house` for checks of the source tree.

# sp_tests(LAYER): every tests/LAYER/test_*.c is one program, known to ctest as LAYER.<name>
function(sp_tests layer)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${layer}/test_*.c)
    get_target_property(needs sp_${layer} LINK_LIBRARIES)
    set(labels ${layer})
    if("OpenMP::OpenMP_C" IN_LIST needs)
        list(APPEND labels threads)
    endif()
    foreach(source ${sources})
        get_filename_component(program ${source} NAME_WE)
        string(REPLACE test_ "" noun ${program})
        add_executable(test_${layer}_${noun} ${source})
        target_link_libraries(test_${layer}_${noun} PRIVATE sp_${layer} sp_cmocka)
        target_include_directories(test_${layer}_${noun} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
        sp_test(${layer}.${noun} LABELS ${labels} COMMAND test_${layer}_${noun})
    endforeach()
endfunction()

# sp_pipeline_tests(LAYER): every tests/LAYER/*.sh is a run of the program, known to ctest as LAYER.<name>; the script gets
# the path of spica as $1, a fresh folder to work in, the folder of the examples as $SPICA_EXAMPLES, and in
# $SPICA_RUN_ENGINES whether other engines than `local` can run in this build; the plugin of the emulated GPU is $SPICA_EMULATED
function(sp_pipeline_tests layer)
    file(GLOB scripts CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${layer}/*.sh)
    foreach(script ${scripts})
        get_filename_component(name ${script} NAME_WE)
        string(REPLACE test_ "" name ${name})
        sp_test(${layer}.${name} LABELS ${layer} slow
            COMMAND sh ${CMAKE_SOURCE_DIR}/tests/tools/pipeline.sh ${script} $<TARGET_FILE:spica>)
    endforeach()
endfunction()

# sp_test(NAME LABELS labels... COMMAND command...): one test with the environment that all share; it says by exit status
# 77 that it has left out everything
function(sp_test name)
    cmake_parse_arguments(ARG "" "" "LABELS;COMMAND" ${ARGN})
    add_test(NAME ${name} COMMAND ${ARG_COMMAND})
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 600 SKIP_RETURN_CODE 77
        ENVIRONMENT "SPICA_EXAMPLES=${CMAKE_SOURCE_DIR}/examples;SPICA_RUN_ENGINES=${SPICA_RUN_ENGINES};SPICA_EMULATED=${CMAKE_BINARY_DIR}/tests/device/spica-emulated.so")
endfunction()
