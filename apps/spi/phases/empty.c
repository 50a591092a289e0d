/* SPDX-License-Identifier: BSD-3-Clause */
typedef int sp_phases_empty; /* replaced by the first file of this layer */
