# SPDX-License-Identifier: BSD-3-Clause
# The plugin for GPUs, spica-cuda.so, where CUDA's compiler is installed and works. To be included at the top: CMake takes
# up a language in no function.

set(SPICA_CUDA AUTO CACHE STRING "build the plugin for GPUs: AUTO (where nvcc works), ON, OFF")
set_property(CACHE SPICA_CUDA PROPERTY STRINGS AUTO ON OFF)

file(GLOB SPICA_CUDA_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/apps/spi/device/cuda/*.cu)
set(SPICA_HAS_CUDA OFF)
if(SPICA_CUDA)
    # Ampere and Hopper; what comes later compiles Hopper's code when it loads it.
    set(CMAKE_CUDA_ARCHITECTURES "80-real;90" CACHE STRING "GPUs to compile for")
    if(NOT DEFINED ENV{CUDACXX} AND NOT CMAKE_CUDA_COMPILER)
        find_program(SPICA_NVCC nvcc HINTS /usr/local/cuda/bin)
        mark_as_advanced(SPICA_NVCC)
        if(SPICA_NVCC)
            set(ENV{CUDACXX} ${SPICA_NVCC})
        endif()
    endif()
    if(SPICA_CUDA STREQUAL "ON")
        set(CMAKE_CUDA_COMPILER_WANTED TRUE)
    else()
        include(CheckLanguage)
        check_language(CUDA)
        set(CMAKE_CUDA_COMPILER_WANTED ${CMAKE_CUDA_COMPILER})
    endif()
    if(CMAKE_CUDA_COMPILER_WANTED)
        enable_language(CUDA)
        find_package(CUDAToolkit)
    endif()
    if(TARGET CUDA::cufft AND TARGET CUDA::cublas)
        set(SPICA_HAS_CUDA ON)
    elseif(SPICA_CUDA STREQUAL "ON")
        message(FATAL_ERROR "SPICA_CUDA=ON, but cuFFT or cuBLAS is not there")
    endif()
endif()
if(SPICA_HAS_CUDA)
    message(STATUS "the plugin for GPUs is built: CUDA ${CMAKE_CUDA_COMPILER_VERSION}")
else()
    message(STATUS "the plugin for GPUs is left out")
endif()

# sp_cuda_module(NAME SOURCES...): a library NAME.so for sp_device_open() to load, compiled by nvcc
function(sp_cuda_module name)
    add_library(${name} MODULE ${ARGN})
    set_target_properties(${name} PROPERTIES PREFIX "" CUDA_STANDARD 20 CUDA_VISIBILITY_PRESET hidden)
    set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CUDA)
    target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/lib ${CMAKE_SOURCE_DIR}/apps/spi)
    target_compile_definitions(${name} PRIVATE SPICA_VERSION="${PROJECT_VERSION}")
    target_compile_options(${name} PRIVATE -Xcompiler=-Wall,-Wextra,-Wno-deprecated-enum-enum-conversion
        $<$<BOOL:${SPICA_WERROR}>:-Werror=all-warnings> $<$<BOOL:${SPICA_WERROR}>:-Xcompiler=-Werror>)
    target_link_libraries(${name} PRIVATE CUDA::cufft CUDA::cublas)
endfunction()

# sp_emulated_module(NAME SOURCES...): the same on the emulator of the tests, compiled by the host's C++ compiler
function(sp_emulated_module name)
    add_library(${name} MODULE ${ARGN}
        ${CMAKE_SOURCE_DIR}/tests/device/emulator.cc ${CMAKE_SOURCE_DIR}/tests/device/emulator_libraries.cc)
    set_target_properties(${name} PROPERTIES PREFIX "" CXX_STANDARD 20 CXX_VISIBILITY_PRESET hidden)
    set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX)
    target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
    target_compile_definitions(${name} PRIVATE SP_CUDA_EMULATED=1)
    # sums of constants from different enums are fine in C; the second name is clang's
    target_compile_options(${name} PRIVATE -O2
        -Wno-deprecated-enum-enum-conversion -Wno-deprecated-anon-enum-enum-conversion)
    target_link_libraries(${name} PRIVATE sp_flags)
endfunction()
