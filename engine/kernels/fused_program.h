// A fused node compiled for the block interpreter: operands classified by how they repeat in the iteration space,
// instructions bound to vector primitives, registers bound to buffers of one block.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/kernels/kernel.h"
#include "engine/kernels/vector_ops.h"

namespace strata {

struct FusedProgram {
  // How an operand lies in the space (rows x columns).
  enum class Kind : uint8_t {
    kScalar,   // one value
    kColumns,  // one value a column
    kDense,    // laid out like the space
    kRow,      // one value a row
    kGeneral,  // contiguous within rows; rows repeat or are permuted
  };
  struct Operand {
    Kind kind;
    bool is_bool;
    Shape row_strides;    // by outer axis
    int32_t buffer = -1;  // where it is expanded; -1 if it is read in place
    bool single = false;  // one number for a block, which instructions take as such
  };
  struct Instruction {
    BlockOp op;
    BlockFn fn;
    int operands;
    int16_t a, b, c;  // registers; unused ones repeat a
    int32_t buffer;   // -1: written to result `direct`
    int16_t direct = -1;
  };
  // What a sum adds up.
  enum class Term : uint8_t {
    kValue,    // x
    kProduct,  // x y
    kSquare,   // (x - y)^2
  };
  struct Result {
    int16_t reg;  // x
    FusedAttrs::Store store;
    int32_t variable;
    int32_t output;  // of the node; -1 for a variable
    bool is_bool;
    bool direct = false;       // an instruction writes it in place
    int32_t accumulator = -1;  // buffer, of column sums in tile mode
    Term term = Term::kValue;
    int16_t with = -1;      // y
    int16_t beside = -1;    // of a sum of products: the result that is the sum of x, taken in the same pass
    bool by_other = false;  // it is another one's `beside`
  };

  Shape outer;  // axes of the rows
  int64_t rows = 1, columns = 1;
  int64_t rows_per_sum =
      1;                  // rows that belong to one row of kSumRows: the split may lie further out than the last axis
  int64_t block = 0;      // elements of a buffer
  int64_t tile_rows = 0;  // rows in a block; 0 if a row is longer than a block
  int64_t segment = 0;    // columns of a unit of work
  int64_t grain = 0;      // units in a chunk
  int64_t num_chunks = 1;
  int32_t num_buffers = 0;
  std::vector<Operand> operands;
  std::vector<Instruction> code;
  std::vector<Result> results;
  // Of each operand: index of the last instruction that reads it, or code.size() if a result does; -1 if nothing reads
  // it.
  std::vector<int32_t> last_read;

  // Elements in the registers' memory of one thread.
  static constexpr int64_t kPool = 8192;

  int64_t segments() const { return (columns + segment - 1) / segment; }
  int64_t units() const { return tile_rows > 0 ? rows : rows * segments(); }
  // Whether chunks can be rows, if the space falls into `count` equal ones along its first axes.
  bool CanCut(int64_t count) const;
  // Makes each chunk so many of them.
  void Cut(int64_t count, int64_t rows_a_chunk);
  // Index of the instruction that writes result `r` in place; -1 if none does.
  int32_t WriterOf(size_t r) const;
};

// Null and a reason if the interpreter cannot run it: other types than f32 and bool, too many registers.
std::unique_ptr<FusedProgram> CompileFused(const KernelRequest& r, const FusedAttrs& attrs, std::string* why);

}  // namespace strata
