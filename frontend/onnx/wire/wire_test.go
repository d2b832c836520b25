package wire

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// messages is every message, by its name in the .proto files.
var messages = map[string]message{
	"AttributeProto": &Attribute{}, "ValueInfoProto": &ValueInfo{}, "NodeProto": &Node{}, "IntIntListEntryProto": &DeviceGroup{},
	"NodeDeviceConfigurationProto": &NodeDevices{}, "ShardingSpecProto": &Sharding{}, "ShardedDimProto": &ShardedDim{},
	"SimpleShardedDimProto": &SimpleSharding{}, "TrainingInfoProto": &TrainingInfo{}, "ModelProto": &Model{},
	"DeviceConfigurationProto": &DeviceConfiguration{}, "StringStringEntryProto": &StringEntry{}, "TensorAnnotation": &TensorAnnotation{},
	"GraphProto": &Graph{}, "TensorProto": &Tensor{}, "Segment": &Segment{}, "SparseTensorProto": &SparseTensor{}, "TensorShapeProto": &Shape{},
	"Dimension": &Dim{}, "TypeProto": &Type{}, "Tensor": &TensorType{}, "Sequence": &ElemType{}, "Map": &MapType{}, "Optional": &ElemType{},
	"SparseTensor": &TensorType{}, "Opaque": &OpaqueType{}, "OperatorSetIdProto": &OperatorSet{}, "FunctionProto": &Function{},
	"SequenceProto": &Sequence{}, "MapProto": &Map{}, "OptionalProto": &Optional{},
}

// fill sets every field of a message, to a value that depends on seed; depth bounds
// messages in messages.
func fill(v reflect.Value, depth int, seed *int64) {
	*seed++
	switch v.Kind() {
	case reflect.Int32, reflect.Int64:
		v.SetInt(*seed * -7919)
	case reflect.Float32:
		v.SetFloat(float64(*seed) / 4)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("s" + strconv.FormatInt(*seed, 10))
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("12345678")) // two f32, one f64, eight varints
			return
		}
		if depth == 0 && v.Type().Elem().Kind() == reflect.Pointer {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), depth, seed)
		}
	case reflect.Pointer:
		if depth > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), depth-1, seed)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "Message" {
				fill(v.Field(i), depth, seed)
			}
		}
	}
}

// filled is a message with every field set, but for those that exclude each other.
func filled(m message, depth int) message {
	out := reflect.New(reflect.TypeOf(m).Elem())
	seed := int64(0)
	fill(out.Elem(), depth, &seed)
	x := out.Interface().(message)
	settle(reflect.ValueOf(x))
	return x
}

// settle leaves one of the fields that exclude each other, in a message and in it.
func settle(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			if c, ok := v.Interface().(interface{ choose(number) }); ok {
				c.choose(1)
			}
			settle(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "Message" {
				settle(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			settle(v.Index(i))
		}
	}
}

// forget drops the bytes that messages came from, so that all are written anew.
func forget(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			if m, ok := v.Interface().(message); ok {
				m.base().raw = nil
			}
			forget(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "Message" {
				forget(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			forget(v.Index(i))
		}
	}
}

func fresh(m message) message {
	return reflect.New(reflect.TypeOf(m).Elem()).Interface().(message)
}

// What is written of a message with all its fields set is read back as it was.
func TestEveryField(t *testing.T) {
	for proto, m := range messages {
		want := filled(m, 2)
		b := Encode(want)
		got := fresh(m)
		if err := decode(got, b, Limits{}); err != nil {
			t.Errorf("%s: %v", proto, err)
			continue
		}
		if again := Encode(got); !bytes.Equal(again, b) {
			t.Errorf("%s: written back as % x, was % x", proto, again, b)
		}
		forget(reflect.ValueOf(got))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read back as\n%+v, was\n%+v", proto, got, want)
		}
	}
}

// A change of any one field, of the message or of one in it, is seen and written.
func TestEveryChange(t *testing.T) {
	for proto, m := range messages {
		b := Encode(filled(m, 1))
		for path := range places(reflect.ValueOf(filled(m, 1)).Elem(), nil) {
			got := fresh(m)
			if err := decode(got, b, Limits{}); err != nil {
				t.Fatal(err)
			}
			at := reflect.ValueOf(got).Elem().FieldByIndex(path)
			if at.IsZero() { // excluded by another
				continue
			}
			at.SetZero()
			changed := Encode(got)
			forget(reflect.ValueOf(got))
			if want := Encode(got); !bytes.Equal(changed, want) || bytes.Equal(changed, b) && at.Kind() != reflect.Bool {
				t.Errorf("%s: after %v = 0 written as % x, want % x", proto, path, changed, want)
			}
		}
	}
}

// places calls yield for every field of a struct and of the structs it points to.
func places(v reflect.Value, prefix []int) func(yield func([]int) bool) {
	return func(yield func([]int) bool) {
		for i := range v.NumField() {
			if v.Type().Field(i).Name == "Message" {
				continue
			}
			path := append(prefix[:len(prefix):len(prefix)], i)
			if !yield(path) {
				return
			}
			if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
				places(f.Elem(), path)(yield)
			}
		}
	}
}

// tag makes the bytes of a field: of a varint for an int, else of bytes.
func tag(n number, v any) []byte {
	switch v := v.(type) {
	case int:
		return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), uint64(v))
	case string:
		return protowire.AppendString(protowire.AppendTag(nil, n, protowire.BytesType), v)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), v.([]byte))
}

func join(b ...[]byte) []byte { return bytes.Join(b, nil) }

// Odd ways to write a message are read as protobuf says, and written back as they were.
func TestOddEncodings(t *testing.T) {
	longVarint := join([]byte{1 << 3, 0x88, 0x80, 0x00}) // 8 in three bytes
	for _, c := range []struct {
		what string
		b    []byte
		ok   func(m *Model) bool
	}{
		{"a long varint", longVarint, func(m *Model) bool { return m.IRVersion == 8 }},
		{"fields out of order", join(tag(7, tag(2, "g")), tag(1, 8)), func(m *Model) bool { return m.IRVersion == 8 && m.Graph.Name == "g" }},
		{"the last of two numbers", join(tag(1, 3), tag(1, 8)), func(m *Model) bool { return m.IRVersion == 8 }},
		{"two pieces of a graph", join(tag(7, tag(2, "g")), tag(1, 8), tag(7, tag(1, tag(4, "Abs")))), func(m *Model) bool {
			return m.Graph.Name == "g" && len(m.Graph.Nodes) == 1 && m.Graph.Nodes[0].OpType == "Abs"
		}},
		{"unknown fields", join(tag(99, "later"), tag(1, 8), tag(98, 5)), func(m *Model) bool {
			return m.IRVersion == 8 && bytes.Equal(m.Unknown, join(tag(99, "later"), tag(98, 5)))
		}},
		{"packed dims", tag(7, tag(5, tag(1, []byte{2, 3}))), func(m *Model) bool {
			return reflect.DeepEqual(m.Graph.Initializers[0].Dims, []int64{2, 3})
		}},
		{"dims one by one", tag(7, tag(5, join(tag(1, 2), tag(1, 3)))), func(m *Model) bool {
			return reflect.DeepEqual(m.Graph.Initializers[0].Dims, []int64{2, 3})
		}},
		{"int32_data one by one", tag(7, tag(5, join(tag(5, 2), tag(5, 300), tag(5, []byte{7})))), func(m *Model) bool {
			return bytes.Equal(m.Graph.Initializers[0].Int32Data, []byte{2, 0xac, 2, 7})
		}},
		{"two kinds of a type", tag(7, tag(11, tag(2, join(tag(1, tag(1, 1)), tag(4, []byte{}))))), func(m *Model) bool {
			typ := m.Graph.Inputs[0].Type
			return typ.Tensor == nil && typ.Sequence != nil
		}},
		{"a dim twice", tag(7, tag(11, tag(2, tag(1, tag(2, tag(1, join(tag(1, 5), tag(2, "n")))))))), func(m *Model) bool {
			d := m.Graph.Inputs[0].Type.Tensor.Shape.Dims[0]
			return !d.HasValue && d.Value == 0 && d.Param == "n"
		}},
		{"text that is not UTF-8", tag(6, "\xff"), func(m *Model) bool { return m.Doc == "\xff" }},
		{"a zero that is written", tag(1, 0), func(m *Model) bool { return m.IRVersion == 0 }},
	} {
		m, err := Decode(c.b, Limits{})
		if err != nil || !c.ok(m) {
			t.Errorf("%s: %v, %+v", c.what, err, m)
			continue
		}
		if b := Encode(m); !bytes.Equal(b, c.b) {
			t.Errorf("%s: written back as % x, was % x", c.what, b, c.b)
		}
	}
}

// A change leaves the bytes of all that is beside it as they were.
func TestChangeKeepsTheRest(t *testing.T) {
	odd := join(tag(4, "Abs"), tag(99, "later"), tag(3, "a")) // a node, its fields out of order
	m, err := Decode(join(tag(7, join(tag(1, odd), tag(1, odd), tag(2, "g"))), tag(1, 8)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	m.Graph.Nodes[1].Name = "b"
	changed := join(tag(3, "b"), tag(4, "Abs"), tag(99, "later"))
	if got, want := Encode(m), join(tag(1, 8), tag(7, join(tag(1, odd), tag(1, changed), tag(2, "g")))); !bytes.Equal(got, want) {
		t.Errorf("written as % x, want % x", got, want)
	}
	m.Graph.Nodes = m.Graph.Nodes[:1]
	if got, want := Encode(m), join(tag(1, 8), tag(7, join(tag(1, odd), tag(2, "g")))); !bytes.Equal(got, want) {
		t.Errorf("written as % x, want % x", got, want)
	}
}

// A deep chain of changed messages takes time by its depth, not by powers of it, and
// lengths of every size are right.
func TestEncodeDeep(t *testing.T) {
	typ := &Type{Tensor: &TensorType{ElemType: 1}}
	for range 80 {
		typ = &Type{Sequence: &ElemType{Elem: typ}}
	}
	v := &ValueInfo{Name: strings.Repeat("n", 1<<15), Type: typ}
	b := Encode(&Graph{Inputs: []*ValueInfo{v}})
	var got Graph
	if err := decode(&got, b, Limits{}); err != nil {
		t.Fatal(err)
	}
	innermost := got.Inputs[0].Type
	for innermost.Sequence != nil {
		innermost = innermost.Sequence.Elem
	}
	innermost.Tensor.ElemType = 7
	innermost.Denotation = "changed"
	b = Encode(&got)
	forget(reflect.ValueOf(&got))
	if want := Encode(&got); !bytes.Equal(b, want) {
		t.Error("a change at depth 80 is not written")
	}
}

// Every file of the suite and of the real models is written back byte for byte, and reads
// the same when it is written anew.
func TestFilesRoundTrip(t *testing.T) {
	for _, variable := range []string{"PITOPT_SUITE", "PITOPT_MODELS"} {
		t.Run(variable, func(t *testing.T) {
			dir := os.Getenv(variable)
			if dir == "" {
				t.Skipf("%s is not set: it names a folder of models", variable)
			}
			n := 0
			err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
				if err != nil {
					return err
				}
				var m message
				switch filepath.Ext(path) {
				case ".onnx":
					m = &Model{}
				case ".pb":
					m = kind(path)
				}
				if m == nil || e.IsDir() {
					return nil
				}
				n++
				b, err := os.ReadFile(path)
				if err == nil {
					err = decode(m, b, Limits{})
				}
				if err != nil {
					t.Errorf("%s: %v", path, err)
					return nil
				}
				if !bytes.Equal(Encode(m), b) {
					t.Errorf("%s: not written back as it was", path)
				}
				forget(reflect.ValueOf(m))
				anew, again := Encode(m), fresh(m)
				if err := decode(again, anew, Limits{}); err != nil {
					t.Errorf("%s: written anew: %v", path, err)
				}
				forget(reflect.ValueOf(again))
				if !bytes.Equal(Encode(again), anew) {
					t.Errorf("%s: written anew it reads differently", path)
				}
				return nil
			})
			t.Logf("%d files", n)
			if err != nil || n == 0 {
				t.Errorf("%d files below %s: %v", n, dir, err)
			}
		})
	}
}

// kind is the message that a file of test data holds: its case's name tells.
func kind(path string) message {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	for _, m := range []message{&Tensor{}, &Sequence{}, &Optional{}} {
		if decode(m, b, Limits{}) == nil && len(m.base().Unknown) == 0 {
			return fresh(m)
		}
	}
	return &Tensor{}
}

// The tables have the fields of the .proto files that stand above the suite, all of them
// and no others, repeated ones as lists.
func TestTablesAreTheProtos(t *testing.T) {
	suite := os.Getenv("PITOPT_SUITE")
	if suite == "" {
		t.Skip("PITOPT_SUITE is not set: it names onnx/backend/test/data of an unpacked onnx package")
	}
	declared := map[string]map[number]string{}
	for _, file := range []string{"onnx-ml.proto", "onnx-data.proto"} {
		src, err := os.ReadFile(filepath.Join(suite, "..", "..", "..", file))
		if err != nil {
			t.Fatal(err)
		}
		parseProto(string(src), declared)
	}
	for proto, fields := range declared {
		m := messages[proto]
		if m == nil {
			t.Errorf("there is no struct for %s", proto)
			continue
		}
		for n := number(1); n <= 200; n++ {
			f := m.field(n)
			if (f != nil) != (fields[n] != "") {
				t.Errorf("field %d of %s: %q in the .proto, %T in the table", n, proto, fields[n], f)
			} else if f != nil && !strings.HasPrefix(kindOf(f), fields[n]) {
				t.Errorf("field %d of %s: %q in the .proto, %T in the table", n, proto, fields[n], f)
			}
		}
	}
	if len(declared) != len(messages) {
		t.Errorf("%d messages in the .proto files, %d here", len(declared), len(messages))
	}
}

// kindOf says what a slot is in the words of parseProto.
func kindOf(f slot) string {
	switch f := f.(type) {
	case text, name:
		return "one string"
	case names:
		return "many string"
	case data:
		return "one bytes"
	case datas:
		return "many bytes"
	case float:
		return "one float"
	case floats, packed32:
		return "many float"
	case packed64:
		return "many double"
	case integers, packedVarints:
		return "many int"
	case integer[int32], integer[int64], integer[AttributeType]:
		return "one int"
	case given:
		return kindOf(f.slot)
	case present:
		return kindOf(f.slot)
	}
	if strings.HasPrefix(reflect.TypeOf(f).Name(), "several[") {
		return "many message"
	}
	return "one message"
}

// parseProto notes the fields of a .proto file, by message and number.
func parseProto(src string, out map[string]map[number]string) {
	src = regexp.MustCompile(`//[^\n]*`).ReplaceAllString(src, "")
	fieldLine := regexp.MustCompile(`^(?:(optional|repeated)\s+)?([A-Za-z0-9_]+)\s+[a-z0-9_]+\s*=\s*(\d+)\s*(?:\[.*\])?;`)
	var open []string // messages, enums and oneofs around
	for _, line := range strings.FieldsFunc(strings.NewReplacer("{", "{\n", "}", "\n}\n", ";", ";\n").Replace(src), func(r rune) bool { return r == '\n' }) {
		line = strings.TrimSpace(line)
		words := strings.Fields(line)
		switch {
		case strings.HasSuffix(line, "{"):
			name := words[0] + " " + strings.TrimSuffix(words[1], "{")
			open = append(open, name)
			if rest, ok := strings.CutPrefix(name, "message "); ok {
				out[rest] = map[number]string{}
			}
		case line == "}":
			open = open[:len(open)-1]
		case len(open) > 0 && !strings.HasPrefix(open[len(open)-1], "enum "):
			m := fieldLine.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			owner := ""
			for _, o := range open {
				if rest, ok := strings.CutPrefix(o, "message "); ok {
					owner = rest
				}
			}
			n, _ := strconv.Atoi(m[3])
			kind := map[string]string{"string": "string", "bytes": "bytes", "float": "float", "double": "double",
				"int32": "int", "int64": "int", "uint64": "int", "AttributeType": "int", "DataLocation": "int"}[m[2]]
			if kind == "" {
				kind = "message"
			}
			count := "one "
			if m[1] == "repeated" {
				count = "many "
			}
			out[owner][number(n)] = count + kind
		}
	}
}
