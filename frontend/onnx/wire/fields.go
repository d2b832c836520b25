package wire

// The fields of every message, in the order of their numbers. One table serves
// decoding and encoding.

func (m *Model) fields() []field {
	return []field{
		intField(1, &m.IRVersion), strField(2, &m.ProducerName), strField(3, &m.ProducerVersion), strField(4, &m.Domain),
		intField(5, &m.ModelVersion), strField(6, &m.Doc), one(7, &m.Graph), many(8, &m.OpsetImport), many(14, &m.MetadataProps),
		many(20, &m.TrainingInfo), many(25, &m.Functions), many(26, &m.Configuration),
	}
}

func (m *OperatorSet) fields() []field {
	return []field{strField(1, &m.Domain), intField(2, &m.Version)}
}

func (m *StringEntry) fields() []field {
	return []field{strField(1, &m.Key), strField(2, &m.Value)}
}

func (m *TrainingInfo) fields() []field {
	return []field{one(1, &m.Initialization), one(2, &m.Algorithm), many(3, &m.InitBinding), many(4, &m.UpdateBinding)}
}

func (m *Graph) fields() []field {
	return []field{
		many(1, &m.Nodes), strField(2, &m.Name), many(5, &m.Initializers), strField(10, &m.Doc), many(11, &m.Inputs),
		many(12, &m.Outputs), many(13, &m.ValueInfo), many(14, &m.Quantization), many(15, &m.SparseInitializers), many(16, &m.MetadataProps),
	}
}

func (m *Node) fields() []field {
	return []field{
		strsField(1, &m.Inputs), strsField(2, &m.Outputs), strField(3, &m.Name), strField(4, &m.OpType), many(5, &m.Attributes),
		strField(6, &m.Doc), strField(7, &m.Domain), strField(8, &m.Overload), many(9, &m.MetadataProps), many(10, &m.Devices),
	}
}

func (m *Attribute) fields() []field {
	return []field{
		strField(1, &m.Name), floatField(2, &m.F), intField(3, &m.I), bytesField(4, &m.S), one(5, &m.T), one(6, &m.G),
		floatsField(7, &m.Floats), intsField(8, &m.Ints), bytesList(9, &m.Strings), many(10, &m.Tensors), many(11, &m.Graphs),
		strField(13, &m.Doc), one(14, &m.TP), many(15, &m.TypeProtos), intField(20, &m.Type), strField(21, &m.RefAttrName),
		one(22, &m.SparseTensor), many(23, &m.SparseTensors),
	}
}

func (m *ValueInfo) fields() []field {
	return []field{strField(1, &m.Name), one(2, &m.Type), strField(3, &m.Doc), many(4, &m.MetadataProps)}
}

func (m *Type) fields() []field {
	return []field{
		one(1, &m.Tensor), one(4, &m.Sequence), one(5, &m.Map), strField(6, &m.Denotation), one(7, &m.Opaque),
		one(8, &m.SparseTensor), one(9, &m.Optional),
	}
}

func (m *TensorType) fields() []field { return []field{intField(1, &m.ElemType), one(2, &m.Shape)} }

func (m *ElemType) fields() []field { return []field{one(1, &m.Elem)} }

func (m *Shape) fields() []field { return []field{many(1, &m.Dims)} }

func (m *Dim) fields() []field {
	return []field{presentInt(1, &m.Value, &m.HasValue), strField(2, &m.Param), strField(3, &m.Denotation)}
}

func (m *Tensor) fields() []field {
	return []field{
		intsField(1, &m.Dims), intField(2, &m.DataType), one(3, &m.Segment), packed(4, &m.FloatData, fixed32), packed(5, &m.Int32Data, varint),
		bytesList(6, &m.StringData), packed(7, &m.Int64Data, varint), strField(8, &m.Name), presentBytes(9, &m.RawData, &m.HasRaw),
		packed(10, &m.DoubleData, fixed64), packed(11, &m.Uint64Data, varint), strField(12, &m.Doc), many(13, &m.ExternalData),
		intField(14, &m.DataLocation), many(16, &m.MetadataProps),
	}
}

func (m *SparseTensor) fields() []field {
	return []field{one(1, &m.Values), one(2, &m.Indices), intsField(3, &m.Dims)}
}

func (m *Function) fields() []field {
	return []field{
		strField(1, &m.Name), strsField(4, &m.Inputs), strsField(5, &m.Outputs), strsField(6, &m.Attributes), many(7, &m.Nodes),
		strField(8, &m.Doc), many(9, &m.OpsetImport), strField(10, &m.Domain), many(11, &m.AttributeProtos), many(12, &m.ValueInfo),
		strField(13, &m.Overload), many(14, &m.MetadataProps),
	}
}

func (m *Opaque) fields() []field { return nil }

func (m *Sequence) fields() []field {
	return []field{
		strField(1, &m.Name), intField(2, &m.ElemType), many(3, &m.Tensors), many(4, &m.Sparse), many(5, &m.Sequences),
		many(6, &m.Maps), many(7, &m.Optionals),
	}
}

func (m *Optional) fields() []field {
	return []field{
		strField(1, &m.Name), intField(2, &m.ElemType), one(3, &m.Tensor), one(4, &m.Sparse), one(5, &m.Sequence), one(6, &m.Map),
		one(7, &m.Optional),
	}
}
