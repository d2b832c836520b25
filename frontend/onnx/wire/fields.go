package wire

// The fields of every message by number: one table serves decoding, encoding and
// comparison. A field is a slot that points into the message; making one costs nothing.

func (m *Model) field(n number) slot {
	switch n {
	case 1:
		return integer[int64]{&m.IRVersion}
	case 2:
		return text{&m.ProducerName}
	case 3:
		return text{&m.ProducerVersion}
	case 4:
		return name{&m.Domain}
	case 5:
		return integer[int64]{&m.ModelVersion}
	case 6:
		return text{&m.Doc}
	case 7:
		return one(&m.Graph)
	case 8:
		return list(&m.OpsetImport)
	case 14:
		return list(&m.MetadataProps)
	case 20:
		return list(&m.TrainingInfo)
	case 25:
		return list(&m.Functions)
	case 26:
		return list(&m.Configuration)
	}
	return nil
}

func (m *OperatorSet) field(n number) slot {
	switch n {
	case 1:
		return name{&m.Domain}
	case 2:
		return integer[int64]{&m.Version}
	}
	return nil
}

func (m *StringEntry) field(n number) slot {
	switch n {
	case 1:
		return name{&m.Key}
	case 2:
		return text{&m.Value}
	}
	return nil
}

func (m *TrainingInfo) field(n number) slot {
	switch n {
	case 1:
		return one(&m.Initialization)
	case 2:
		return one(&m.Algorithm)
	case 3:
		return list(&m.InitBinding)
	case 4:
		return list(&m.UpdateBinding)
	}
	return nil
}

func (m *Graph) field(n number) slot {
	switch n {
	case 1:
		return list(&m.Nodes)
	case 2:
		return name{&m.Name}
	case 5:
		return list(&m.Initializers)
	case 10:
		return text{&m.Doc}
	case 11:
		return list(&m.Inputs)
	case 12:
		return list(&m.Outputs)
	case 13:
		return list(&m.ValueInfo)
	case 14:
		return list(&m.Quantization)
	case 15:
		return list(&m.SparseInitializers)
	case 16:
		return list(&m.MetadataProps)
	}
	return nil
}

func (m *Node) field(n number) slot {
	switch n {
	case 1:
		return names{&m.Inputs}
	case 2:
		return names{&m.Outputs}
	case 3:
		return name{&m.Name}
	case 4:
		return name{&m.OpType}
	case 5:
		return list(&m.Attributes)
	case 6:
		return text{&m.Doc}
	case 7:
		return name{&m.Domain}
	case 8:
		return name{&m.Overload}
	case 9:
		return list(&m.MetadataProps)
	case 10:
		return list(&m.Devices)
	}
	return nil
}

func (m *Attribute) field(n number) slot {
	switch n {
	case 1:
		return name{&m.Name}
	case 2:
		return float{&m.F}
	case 3:
		return integer[int64]{&m.I}
	case 4:
		return data{&m.S}
	case 5:
		return one(&m.T)
	case 6:
		return one(&m.G)
	case 7:
		return floats{&m.Floats}
	case 8:
		return integers{&m.Ints}
	case 9:
		return datas{&m.Strings}
	case 10:
		return list(&m.Tensors)
	case 11:
		return list(&m.Graphs)
	case 13:
		return text{&m.Doc}
	case 14:
		return one(&m.TP)
	case 15:
		return list(&m.TypeProtos)
	case 20:
		return integer[AttributeType]{&m.Type}
	case 21:
		return name{&m.RefAttrName}
	case 22:
		return one(&m.SparseTensor)
	case 23:
		return list(&m.SparseTensors)
	}
	return nil
}

func (m *ValueInfo) field(n number) slot {
	switch n {
	case 1:
		return name{&m.Name}
	case 2:
		return one(&m.Type)
	case 3:
		return text{&m.Doc}
	case 4:
		return list(&m.MetadataProps)
	}
	return nil
}

func (m *Type) field(n number) slot {
	switch n {
	case 1:
		return one(&m.Tensor)
	case 4:
		return one(&m.Sequence)
	case 5:
		return one(&m.Map)
	case 6:
		return name{&m.Denotation}
	case 7:
		return one(&m.Opaque)
	case 8:
		return one(&m.SparseTensor)
	case 9:
		return one(&m.Optional)
	}
	return nil
}

// choose drops the kinds other than n: the last one in the file counts.
func (m *Type) choose(n number) {
	was := *m
	switch n {
	case 1, 4, 5, 7, 8, 9:
		*m = Type{Message: was.Message, Denotation: was.Denotation}
	}
	switch n {
	case 1:
		m.Tensor = was.Tensor
	case 4:
		m.Sequence = was.Sequence
	case 5:
		m.Map = was.Map
	case 7:
		m.Opaque = was.Opaque
	case 8:
		m.SparseTensor = was.SparseTensor
	case 9:
		m.Optional = was.Optional
	}
}

func (m *TensorType) field(n number) slot {
	switch n {
	case 1:
		return integer[int32]{&m.ElemType}
	case 2:
		return one(&m.Shape)
	}
	return nil
}

func (m *ElemType) field(n number) slot {
	switch n {
	case 1:
		return one(&m.Elem)
	}
	return nil
}

func (m *MapType) field(n number) slot {
	switch n {
	case 1:
		return integer[int32]{&m.KeyType}
	case 2:
		return one(&m.Value)
	}
	return nil
}

func (m *OpaqueType) field(n number) slot {
	switch n {
	case 1:
		return name{&m.Domain}
	case 2:
		return name{&m.Name}
	}
	return nil
}

func (m *Shape) field(n number) slot {
	switch n {
	case 1:
		return list(&m.Dims)
	}
	return nil
}

func (m *Dim) field(n number) slot {
	switch n {
	case 1:
		return present{integer[int64]{&m.Value}, &m.HasValue}
	case 2:
		return name{&m.Param}
	case 3:
		return name{&m.Denotation}
	}
	return nil
}

// choose drops the other way to say a dim: the last one in the file counts.
func (m *Dim) choose(n number) {
	switch n {
	case 1:
		m.Param = ""
	case 2:
		m.HasValue, m.Value = false, 0
	}
}

func (m *Tensor) field(n number) slot {
	switch n {
	case 1:
		return integers{&m.Dims}
	case 2:
		return integer[int32]{&m.DataType}
	case 3:
		return one(&m.Segment)
	case 4:
		return packed32{&m.FloatData}
	case 5:
		return packedVarints{&m.Int32Data}
	case 6:
		return datas{&m.StringData}
	case 7:
		return packedVarints{&m.Int64Data}
	case 8:
		return name{&m.Name}
	case 9:
		return given{data{&m.RawData}, &m.HasRaw}
	case 10:
		return packed64{&m.DoubleData}
	case 11:
		return packedVarints{&m.Uint64Data}
	case 12:
		return text{&m.Doc}
	case 13:
		return list(&m.ExternalData)
	case 14:
		return integer[int32]{&m.DataLocation}
	case 16:
		return list(&m.MetadataProps)
	}
	return nil
}

func (m *Segment) field(n number) slot {
	switch n {
	case 1:
		return integer[int64]{&m.Begin}
	case 2:
		return integer[int64]{&m.End}
	}
	return nil
}

func (m *SparseTensor) field(n number) slot {
	switch n {
	case 1:
		return one(&m.Values)
	case 2:
		return one(&m.Indices)
	case 3:
		return integers{&m.Dims}
	}
	return nil
}

func (m *Function) field(n number) slot {
	switch n {
	case 1:
		return name{&m.Name}
	case 4:
		return names{&m.Inputs}
	case 5:
		return names{&m.Outputs}
	case 6:
		return names{&m.Attributes}
	case 7:
		return list(&m.Nodes)
	case 8:
		return text{&m.Doc}
	case 9:
		return list(&m.OpsetImport)
	case 10:
		return name{&m.Domain}
	case 11:
		return list(&m.AttributeProtos)
	case 12:
		return list(&m.ValueInfo)
	case 13:
		return name{&m.Overload}
	case 14:
		return list(&m.MetadataProps)
	}
	return nil
}

func (m *Sequence) field(n number) slot {
	switch n {
	case 1:
		return name{&m.Name}
	case 2:
		return integer[int32]{&m.ElemType}
	case 3:
		return list(&m.Tensors)
	case 4:
		return list(&m.Sparse)
	case 5:
		return list(&m.Sequences)
	case 6:
		return list(&m.Maps)
	case 7:
		return list(&m.Optionals)
	}
	return nil
}

func (m *Map) field(n number) slot {
	switch n {
	case 1:
		return name{&m.Name}
	case 2:
		return integer[int32]{&m.KeyType}
	case 3:
		return integers{&m.Keys}
	case 4:
		return datas{&m.StringKeys}
	case 5:
		return one(&m.Values)
	}
	return nil
}

func (m *Optional) field(n number) slot {
	switch n {
	case 1:
		return name{&m.Name}
	case 2:
		return integer[int32]{&m.ElemType}
	case 3:
		return one(&m.Tensor)
	case 4:
		return one(&m.Sparse)
	case 5:
		return one(&m.Sequence)
	case 6:
		return one(&m.Map)
	case 7:
		return one(&m.Optional)
	}
	return nil
}
