#pragma once

#include <cstddef>
#include <cstdint>

namespace semanticvla {

/// What levels are: whole numbers up to 127, or OCP E4M3 numbers (no infinity) up to 448.
enum class LevelFormat { kInt8, kE4m3 };

/// Rows of a weight matrix as 8-bit levels, `weight ~ scale * level`, one scale a row.
///
/// Each `block` columns of a row are rotated first by the orthonormal Hadamard matrix of that size
/// (Sylvester's order), which spreads outliers over the block; what is multiplied with the row must
/// be rotated the same way. The row's largest magnitude becomes the largest level; rounding is to
/// nearest, ties to even. A row of zeros, or one whose scale is no longer a float32, gets scale 0
/// and levels 0.
///
/// The result does not depend on the machine, nor on how the caller splits the rows.
///
/// @param weights [rows, columns]  @param block a power of two that divides `columns`
/// @param levels row r of column c is `levels[c * columnStride + r * rowStride]`
/// @param scales [rows]
/// @return whether every rotated weight is finite
bool quantizeRows(const float* weights, size_t rows, size_t columns, size_t block,
                  LevelFormat format, uint8_t* levels, size_t columnStride, size_t rowStride,
                  float* scales);

/// What stands beside a weight matrix, put into it: column c times `gamma[c]`, then each `rowBlock`
/// rows rotated by the same Hadamard matrix, so that the product's outputs come rotated. In
/// float32, in place; the result does not depend on the machine.
///
/// @param weights [rows, columns]  @param gamma [columns], null: none
/// @param rowBlock a power of two that divides `rows`; 1: nothing is rotated
void foldRows(float* weights, size_t rows, size_t columns, const float* gamma, size_t rowBlock);

}  // namespace semanticvla
