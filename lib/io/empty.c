/* SPDX-License-Identifier: BSD-3-Clause */
typedef int sp_io_empty; /* replaced by the first file of this layer */
