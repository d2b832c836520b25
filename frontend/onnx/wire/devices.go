package wire

// What a model says of quantization and of the devices it is spread over. pitopt keeps
// these messages and does not act on them.

// TensorAnnotation is TensorAnnotation.
type TensorAnnotation struct {
	Message
	TensorName     string
	ParameterNames []*StringEntry
}

// DeviceConfiguration is DeviceConfigurationProto.
type DeviceConfiguration struct {
	Message
	Name       string
	NumDevices int32
	Devices    []string
}

// NodeDevices is NodeDeviceConfigurationProto.
type NodeDevices struct {
	Message
	ConfigurationID string
	Sharding        []*Sharding
	PipelineStage   int32
}

// Sharding is ShardingSpecProto.
type Sharding struct {
	Message
	TensorName string
	Devices    []int64
	Groups     []*DeviceGroup
	Dims       []*ShardedDim
}

// DeviceGroup is IntIntListEntryProto.
type DeviceGroup struct {
	Message
	Key    int64
	Values []int64
}

// ShardedDim is ShardedDimProto.
type ShardedDim struct {
	Message
	Axis   int64
	Simple []*SimpleSharding
}

// SimpleSharding is SimpleShardedDimProto.
type SimpleSharding struct {
	Message
	HasValue  bool
	Value     int64
	Param     string
	NumShards int64
}

func (m *TensorAnnotation) field(n number) slot {
	switch n {
	case 1:
		return name{&m.TensorName}
	case 2:
		return list(&m.ParameterNames)
	}
	return nil
}

func (m *DeviceConfiguration) field(n number) slot {
	switch n {
	case 1:
		return name{&m.Name}
	case 2:
		return integer[int32]{&m.NumDevices}
	case 3:
		return names{&m.Devices}
	}
	return nil
}

func (m *NodeDevices) field(n number) slot {
	switch n {
	case 1:
		return name{&m.ConfigurationID}
	case 2:
		return list(&m.Sharding)
	case 3:
		return integer[int32]{&m.PipelineStage}
	}
	return nil
}

func (m *Sharding) field(n number) slot {
	switch n {
	case 1:
		return name{&m.TensorName}
	case 2:
		return integers{&m.Devices}
	case 3:
		return list(&m.Groups)
	case 4:
		return list(&m.Dims)
	}
	return nil
}

func (m *DeviceGroup) field(n number) slot {
	switch n {
	case 1:
		return integer[int64]{&m.Key}
	case 2:
		return integers{&m.Values}
	}
	return nil
}

func (m *ShardedDim) field(n number) slot {
	switch n {
	case 1:
		return integer[int64]{&m.Axis}
	case 2:
		return list(&m.Simple)
	}
	return nil
}

func (m *SimpleSharding) field(n number) slot {
	switch n {
	case 1:
		return present{integer[int64]{&m.Value}, &m.HasValue}
	case 2:
		return name{&m.Param}
	case 3:
		return integer[int64]{&m.NumShards}
	}
	return nil
}

func (m *SimpleSharding) choose(n number) {
	switch n {
	case 1:
		m.Param = ""
	case 2:
		m.HasValue, m.Value = false, 0
	}
}
