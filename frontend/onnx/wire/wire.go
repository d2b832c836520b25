// Package wire reads and writes ONNX's protobuf format: zero-copy, over a mapped file,
// with limits checked before anything is allocated. Field numbers are those of
// onnx.proto and onnx-data.proto of onnx 1.22.
//
// A decoded message keeps the bytes it came from. Encode writes a message that was
// not touched as those bytes, so what was read is written back byte for byte, unknown
// fields and odd encodings included. Whoever changes a decoded message calls Touch on
// it and on every message around it; it is then written field by field, in the order
// of field numbers, unknown fields last.
package wire

// Message is what every message has: its bytes as read, and fields that this version
// does not know.
type Message struct {
	raw     []byte
	Unknown []byte
}

// Touch says that the message was changed.
func (m *Message) Touch() { m.raw = nil }

func (m *Message) message() *Message { return m }

// Model is ModelProto.
type Model struct {
	Message
	IRVersion       int64
	ProducerName    string
	ProducerVersion string
	Domain          string
	ModelVersion    int64
	Doc             string
	Graph           *Graph
	OpsetImport     []*OperatorSet
	MetadataProps   []*StringEntry
	TrainingInfo    []*TrainingInfo
	Functions       []*Function
	Configuration   []*Opaque
}

// OperatorSet is OperatorSetIdProto.
type OperatorSet struct {
	Message
	Domain  string
	Version int64
}

// StringEntry is StringStringEntryProto.
type StringEntry struct {
	Message
	Key, Value string
}

// TrainingInfo is TrainingInfoProto.
type TrainingInfo struct {
	Message
	Initialization *Graph
	Algorithm      *Graph
	InitBinding    []*StringEntry
	UpdateBinding  []*StringEntry
}

// Graph is GraphProto.
type Graph struct {
	Message
	Nodes              []*Node
	Name               string
	Initializers       []*Tensor
	Doc                string
	Inputs             []*ValueInfo
	Outputs            []*ValueInfo
	ValueInfo          []*ValueInfo
	Quantization       []*Opaque
	SparseInitializers []*SparseTensor
	MetadataProps      []*StringEntry
}

// Node is NodeProto.
type Node struct {
	Message
	Inputs, Outputs []string
	Name            string
	OpType          string
	Attributes      []*Attribute
	Doc             string
	Domain          string
	Overload        string
	MetadataProps   []*StringEntry
	Devices         []*Opaque
}

// AttributeType is AttributeProto.AttributeType.
type AttributeType int32

// The attribute types.
const (
	AttrUndefined AttributeType = iota
	AttrFloat
	AttrInt
	AttrString
	AttrTensor
	AttrGraph
	AttrFloats
	AttrInts
	AttrStrings
	AttrTensors
	AttrGraphs
	AttrSparseTensor
	AttrSparseTensors
	AttrTypeProto
	AttrTypeProtos
)

// Attribute is AttributeProto.
type Attribute struct {
	Message
	Name          string
	Type          AttributeType
	F             float32
	I             int64
	S             []byte
	T             *Tensor
	G             *Graph
	Floats        []float32
	Ints          []int64
	Strings       [][]byte
	Tensors       []*Tensor
	Graphs        []*Graph
	Doc           string
	TP            *Type
	TypeProtos    []*Type
	RefAttrName   string
	SparseTensor  *SparseTensor
	SparseTensors []*SparseTensor
}

// ValueInfo is ValueInfoProto.
type ValueInfo struct {
	Message
	Name          string
	Type          *Type
	Doc           string
	MetadataProps []*StringEntry
}

// Type is TypeProto: just one of its kinds is set.
type Type struct {
	Message
	Tensor       *TensorType
	Sequence     *ElemType
	Map          *Opaque
	Denotation   string
	Opaque       *Opaque
	SparseTensor *TensorType
	Optional     *ElemType
}

// TensorType is TypeProto.Tensor, and TypeProto.SparseTensor.
type TensorType struct {
	Message
	ElemType int32
	Shape    *Shape // nil: not even the rank is known
}

// ElemType is TypeProto.Sequence, and TypeProto.Optional.
type ElemType struct {
	Message
	Elem *Type
}

// Shape is TensorShapeProto.
type Shape struct {
	Message
	Dims []*Dim
}

// Dim is TensorShapeProto.Dimension. Neither value nor parameter: unknown.
type Dim struct {
	Message
	HasValue   bool
	Value      int64
	Param      string
	Denotation string
}

// Tensor is TensorProto. The typed data fields are kept as they are encoded, packed,
// until Payload asks for them.
type Tensor struct {
	Message
	Dims          []int64
	DataType      int32
	Segment       *Opaque
	FloatData     []byte // packed little-endian f32
	Int32Data     []byte // packed varints
	StringData    [][]byte
	Int64Data     []byte // packed varints
	Name          string
	Doc           string
	RawData       []byte
	HasRaw        bool
	DoubleData    []byte // packed little-endian f64
	Uint64Data    []byte // packed varints
	ExternalData  []*StringEntry
	DataLocation  int32 // 1: external
	MetadataProps []*StringEntry
}

// SparseTensor is SparseTensorProto.
type SparseTensor struct {
	Message
	Values  *Tensor
	Indices *Tensor
	Dims    []int64
}

// Function is FunctionProto.
type Function struct {
	Message
	Name            string
	Inputs, Outputs []string
	Attributes      []string
	AttributeProtos []*Attribute
	Nodes           []*Node
	Doc             string
	OpsetImport     []*OperatorSet
	Domain          string
	Overload        string
	ValueInfo       []*ValueInfo
	MetadataProps   []*StringEntry
}

// Opaque is a message that pitopt keeps and does not look into: map and opaque types,
// quantization annotations, device configurations.
type Opaque struct{ Message }

// Sequence is SequenceProto of onnx-data.proto.
type Sequence struct {
	Message
	Name      string
	ElemType  int32 // 1 tensor, 2 sparse tensor, 3 sequence, 4 map, 5 optional
	Tensors   []*Tensor
	Sparse    []*SparseTensor
	Sequences []*Sequence
	Maps      []*Opaque
	Optionals []*Optional
}

// Optional is OptionalProto of onnx-data.proto.
type Optional struct {
	Message
	Name     string
	ElemType int32 // as of Sequence; 0 undefined
	Tensor   *Tensor
	Sparse   *SparseTensor
	Sequence *Sequence
	Map      *Opaque
	Optional *Optional
}
