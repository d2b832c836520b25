// Package wire reads and writes ONNX's protobuf format: zero-copy, over a mapped file,
// with limits checked before anything is allocated. Field numbers are those of
// onnx-ml.proto and onnx-data.proto of onnx 1.22 (IR version 13).
//
// Bulk data of a decoded message (bytes, and the typed fields of tensors) view the input
// and are valid as long as it is: for a File until Close. Names are copied, for they
// outlive the file in errors and symbols.
//
// A decoded message keeps the bytes it came from. Encode compares every message with
// what its bytes say and writes the same bytes where nothing differs, so that what was
// read is written back byte for byte: odd field order, long varints, unpacked lists and
// unknown fields included. What was changed or made anew is written field by field, in
// the order of field numbers, unknown fields last. Nobody has to say what they changed.
//
// As in proto2, the zero of a field and its absence are one in the structs, save where a
// Has flag tells them apart; a rewritten message leaves zeros out.
package wire

// Message is what every message has: its bytes as read, nil for a new one, and fields
// that this version does not know.
type Message struct {
	raw     []byte
	Unknown []byte
}

func (m *Message) base() *Message { return m }

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
	Configuration   []*DeviceConfiguration
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
	Quantization       []*TensorAnnotation
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
	Devices         []*NodeDevices
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
	Map          *MapType
	Denotation   string
	Opaque       *OpaqueType
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

// MapType is TypeProto.Map.
type MapType struct {
	Message
	KeyType int32
	Value   *Type
}

// OpaqueType is TypeProto.Opaque.
type OpaqueType struct {
	Message
	Domain, Name string
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
	Segment       *Segment
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

// Segment is TensorProto.Segment.
type Segment struct {
	Message
	Begin, End int64
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

// Sequence is SequenceProto of onnx-data.proto.
type Sequence struct {
	Message
	Name      string
	ElemType  int32 // 1 tensor, 2 sparse tensor, 3 sequence, 4 map, 5 optional
	Tensors   []*Tensor
	Sparse    []*SparseTensor
	Sequences []*Sequence
	Maps      []*Map
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
	Map      *Map
	Optional *Optional
}

// Map is MapProto of onnx-data.proto.
type Map struct {
	Message
	Name       string
	KeyType    int32
	Keys       []int64
	StringKeys [][]byte
	Values     *Sequence
}
