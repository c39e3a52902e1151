// The frameworks' own texts.
#include "engine/summary.h"

#include <gtest/gtest.h>

#include "google/protobuf/text_format.h"

namespace strata {
namespace {

v1::Model Parse(const std::string& text) {
  v1::Model m;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &m)) << text;
  return m;
}

void ExpectText(const std::string& model, const std::string& style, const std::string& want) {
  auto text = Summarize(Parse(model), {.style = style});
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, want);
}

TEST(Summary, KerasChain) {
  ExpectText(R"(name: "sequential" dialect: KERAS inputs { shape: 64 }
                layers { linear { units: 64 } } layers { linear { units: 10 } })",
             "keras", R"(Model: "sequential"
_________________________________________________________________
 Layer (type)                Output Shape              Param #   
=================================================================
 dense (Dense)               (None, 64)                4160      
                                                                 
 dense_1 (Dense)             (None, 10)                650       
                                                                 
=================================================================
Total params: 4810 (18.79 KB)
Trainable params: 4810 (18.79 KB)
Non-trainable params: 0 (0.00 Byte)
_________________________________________________________________
)");
}

// Model(inputs, outputs) of a chain lists its input.
TEST(Summary, KerasFunctionalChain) {
  ExpectText(R"(name: "outer" dialect: KERAS functional: true inputs { name: "x" shape: 8 }
                layers { name: "inner" model { functional: true inputs { name: "i" } layers { name: "a" linear { units: 4 } } } }
                layers { name: "o" linear { units: 2 } })",
             "keras", R"(Model: "outer"
_________________________________________________________________
 Layer (type)                Output Shape              Param #   
=================================================================
 x (InputLayer)              [(None, 8)]               0         
                                                                 
 inner (Functional)          (None, 4)                 36        
                                                                 
 o (Dense)                   (None, 2)                 10        
                                                                 
=================================================================
Total params: 46 (184.00 Byte)
Trainable params: 46 (184.00 Byte)
Non-trainable params: 0 (0.00 Byte)
_________________________________________________________________
)");
}

TEST(Summary, KerasGraph) {
  ExpectText(R"(name: "two_branch" dialect: KERAS
                inputs { name: "left" shape: 4 } inputs { name: "right" shape: 3 }
                layers { name: "d1" linear { units: 5 } } layers { name: "d2" linear { units: 5 } }
                layers { name: "add" add {} } layers { name: "concat" concatenate {} } layers { name: "out" linear { units: 2 } }
                calls { layer: "d1" args { call: "left" } } calls { layer: "d2" args { call: "right" } }
                calls { layer: "add" args { call: "d1" } args { call: "d2" } }
                calls { layer: "concat" args { call: "add" } args { call: "left" } }
                calls { layer: "out" args { call: "concat" } } outputs { edge { call: "out" } })",
             "keras", R"(Model: "two_branch"
__________________________________________________________________________________________________
 Layer (type)                Output Shape                 Param #   Connected to                  
==================================================================================================
 left (InputLayer)           [(None, 4)]                  0         []                            
                                                                                                  
 right (InputLayer)          [(None, 3)]                  0         []                            
                                                                                                  
 d1 (Dense)                  (None, 5)                    25        ['left[0][0]']                
                                                                                                  
 d2 (Dense)                  (None, 5)                    20        ['right[0][0]']               
                                                                                                  
 add (Add)                   (None, 5)                    0         ['d1[0][0]',                  
                                                                     'd2[0][0]']                  
                                                                                                  
 concat (Concatenate)        (None, 9)                    0         ['add[0][0]',                 
                                                                     'left[0][0]']                
                                                                                                  
 out (Dense)                 (None, 2)                    20        ['concat[0][0]']              
                                                                                                  
==================================================================================================
Total params: 65 (260.00 Byte)
Trainable params: 65 (260.00 Byte)
Non-trainable params: 0 (0.00 Byte)
__________________________________________________________________________________________________
)");
}

const char kNet[] = R"(name: "net" dialect: PYTORCH inputs { shape: [3, 8, 8] }
  layers { name: "conv" conv2d { filters: 16 in_channels: 3 kernel_size: 3 padding { size { values: 1 } } } }
  layers { name: "bn" batch_norm2d { num_features: 16 } }
  layers { name: "block" model { inputs { shape: [16, 8, 8] } layers { relu {} } layers { max_pool2d { pool_size: 2 } } } })";

// Arguments by name are connections, too: masks, and features of columns.
TEST(Summary, KerasGraphWithArgumentsByName) {
  ExpectText(R"(name: "df" dialect: KERAS inputs { name: "age" shape: 1 } inputs { name: "city" shape: 1 dtype: BYTES }
                layers { name: "dense_features" dense_features { feature_columns { numeric { key: "age" } }
                  feature_columns { indicator { categorical_column { vocabulary_list { key: "city" vocabulary_list: ["a", "b"] } } } } } }
                layers { name: "dense_1" linear { units: 1 } }
                calls { layer: "dense_features" named_args { key: "city" value { call: "city" } }
                        named_args { key: "age" value { call: "age" } } }
                calls { layer: "dense_1" args { call: "dense_features" } })",
             "keras", R"(Model: "df"
__________________________________________________________________________________________________
 Layer (type)                Output Shape                 Param #   Connected to                  
==================================================================================================
 age (InputLayer)            [(None, 1)]                  0         []                            
                                                                                                  
 city (InputLayer)           [(None, 1)]                  0         []                            
                                                                                                  
 dense_features (DenseFeatu  (None, 3)                    0         ['age[0][0]',                 
 res)                                                                'city[0][0]']                
                                                                                                  
 dense_1 (Dense)             (None, 1)                    4         ['dense_features[0][0]']      
                                                                                                  
==================================================================================================
Total params: 4 (16.00 Byte)
Trainable params: 4 (16.00 Byte)
Non-trainable params: 0 (0.00 Byte)
__________________________________________________________________________________________________
)");
  const absl::StatusOr<std::string> masked = Summarize(
      Parse(
          R"(name: "m" dialect: KERAS inputs { name: "x" shape: [6, 8] } inputs { name: "keep" shape: [6, 6] dtype: BOOL }
               layers { name: "mha" keras_multi_head_attention { num_heads: 2 key_dim: 4 } }
               calls { layer: "mha" args { call: "x" } args { call: "x" }
                       named_args { key: "attention_mask" value { call: "keep" } } })"),
      {.style = "keras"});
  ASSERT_TRUE(masked.ok()) << masked.status();
  EXPECT_NE(masked->find("'keep[0][0]'"), std::string::npos) << *masked;
}

// Layers that do not follow each other are no Sequential; Keras' models are printed as PyTorch would have them.
TEST(Summary, PytorchPrintOfGraphsAndOfKeras) {
  ExpectText(R"(name: "g" dialect: PYTORCH inputs { name: "x" shape: 4 } layers { name: "a" linear { units: 4 } }
                layers { name: "b" linear { units: 4 } } layers { name: "sum" add {} }
                calls { layer: "a" args { call: "x" } } calls { layer: "b" args { call: "a" } }
                calls { layer: "sum" args { call: "a" } args { call: "b" } })",
             "pytorch", R"(Model(
  (a): Linear(in_features=4, out_features=4, bias=True)
  (b): Linear(in_features=4, out_features=4, bias=True)
  (sum): add()
)
)");
  ExpectText(R"(name: "k" dialect: KERAS inputs { name: "x" shape: [8, 8, 3] }
                layers { name: "c" conv2d { filters: 2 kernel_size: 3 } } layers { name: "p" max_pool2d { pool_size: 2 } })",
             "pytorch", R"(Sequential(
  (c): Conv2d(3, 2, kernel_size=(3, 3), stride=(1, 1))
  (p): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
)
)");
  const auto none = Summarize(Parse(R"(name: "k" dialect: KERAS inputs { name: "x" shape: 3 }
                                       layers { name: "e" embedding { input_dim: 3 output_dim: 2 mask_zero: true } }
                                       layers { name: "l" gru { units: 2 reset_after: false } })"),
                              {.style = "pytorch"});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Summary, PytorchPrint) {
  ExpectText(kNet, "pytorch", R"(Sequential(
  (conv): Conv2d(3, 16, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (bn): BatchNorm2d(16, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
  (block): Sequential(
    (0): ReLU()
    (1): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
  )
)
)");
}

TEST(Summary, PytorchPrintInfersInputSizes) {
  ExpectText(R"(name: "net" dialect: PYTORCH inputs { shape: [3, 8, 8] }
                layers { conv2d { filters: 4 kernel_size: 3 groups: 1 } } layers { flatten {} } layers { linear { units: 2 } })",
             "pytorch", R"(Sequential(
  (0): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))
  (1): Flatten(start_dim=1, end_dim=-1)
  (2): Linear(in_features=144, out_features=2, bias=True)
)
)");
}

TEST(Summary, TorchkerasTable) {
  ExpectText(R"(name: "dnn" dialect: PYTORCH inputs { shape: 2 }
                layers { linear { units: 4 } } layers { linear { units: 8 } } layers { linear { units: 1 } })",
             "torchkeras", R"(----------------------------------------------------------------
        Layer (type)               Output Shape         Param #
================================================================
            Linear-1                    [-1, 4]              12
            Linear-2                    [-1, 8]              40
            Linear-3                    [-1, 1]               9
================================================================
Total params: 61
Trainable params: 61
Non-trainable params: 0
----------------------------------------------------------------
Input size (MB): 0.000008
Forward/backward pass size (MB): 0.000099
Params size (MB): 0.000233
Estimated Total Size (MB): 0.000340
----------------------------------------------------------------
)");
}

// Containers are no rows; thousands are grouped.
TEST(Summary, TorchkerasTableOfNestedModels) {
  ExpectText(R"(name: "net" dialect: PYTORCH inputs { shape: 40 }
                layers { name: "block" model { layers { linear { units: 50 } } layers { relu {} } } }
                layers { name: "out" linear { units: 1 } })",
             "torchkeras", R"(----------------------------------------------------------------
        Layer (type)               Output Shape         Param #
================================================================
            Linear-1                   [-1, 50]           2,050
              ReLU-2                   [-1, 50]               0
            Linear-3                    [-1, 1]              51
================================================================
Total params: 2,101
Trainable params: 2,101
Non-trainable params: 0
----------------------------------------------------------------
Input size (MB): 0.000153
Forward/backward pass size (MB): 0.000771
Params size (MB): 0.008015
Estimated Total Size (MB): 0.008938
----------------------------------------------------------------
)");
}

TEST(Summary, KerasExpandsModels) {
  const auto text = Summarize(Parse(R"(name: "outer" dialect: KERAS functional: true inputs { name: "x" shape: 8 }
                layers { name: "inner" trainable: false model { functional: true inputs { name: "i" } layers { name: "a" linear { units: 4 } } } }
                layers { name: "o" linear { units: 2 } })"),
                              {.style = "keras", .expand_nested = true, .show_trainable = true});
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, R"(Model: "outer"
____________________________________________________________________________
 Layer (type)                Output Shape              Param #   Trainable  
============================================================================
 x (InputLayer)              [(None, 8)]               0         Y          
                                                                            
 inner (Functional)          (None, 4)                 36        N          
|¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯|
| i (InputLayer)             [(None, 8)]               0         N         |
|                                                                          |
| a (Dense)                  (None, 4)                 36        N         |
¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯
 o (Dense)                   (None, 2)                 10        Y          
                                                                            
============================================================================
Total params: 46 (184.00 Byte)
Trainable params: 10 (40.00 Byte)
Non-trainable params: 36 (144.00 Byte)
____________________________________________________________________________
)");
}

TEST(Summary, RefusesColumnsThatHoldNothing) {
  const v1::Model model = Parse(R"(name: "m" dialect: KERAS inputs { shape: 2 } layers { linear { units: 1 } })");
  const struct {
    SummaryOptions options;
    const char* message;
  } rows[] = {
      {{.style = "keras", .positions = {0.5, 1}}, "positions: must be 3 for this model, got 2"},
      {{.style = "keras", .positions = {0.5, 0.5, 1}},
       "positions: must grow by 4 characters or more and be at most 1000, got 0.5"},
      {{.style = "keras", .positions = {20, 40, 1e30}},
       "positions: must grow by 4 characters or more and be at most 1000, got 1e+30"},
      {{.style = "keras", .line_length = -1}, "line_length: must be in [0, 1000], got -1"},
      {{.style = "torchkeras", .expand_nested = true},
       "expand_nested: must be absent for a style other than keras, got one"},
  };
  for (const auto& row : rows) {
    const auto text = Summarize(model, row.options);
    EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(text.status().message(), row.message);
  }
}

TEST(Summary, RefusesAnUnknownStyle) {
  EXPECT_EQ(Summarize(Parse(kNet), {.style = "html"}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace strata
