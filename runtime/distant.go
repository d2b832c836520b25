package runtime

import "github.com/pitopt/pitopt/core/tensor"

// Distant is a device with memory of its own. What its programs give in a run may be there alone, until the machine
// asks for it: the memory of the host that it belongs to then holds anything.
type Distant interface {
	Device
	// Enter begins a run. What the run has on the device is its own.
	Enter() (Abroad, error)
}

// Abroad is what a run has on a device. Memory is told by where it lies on the host. Device.Run finds it where the Memory that it
// gets is a Traveller.
type Abroad interface {
	// Home brings contents to the host that the device has alone.
	Home(b []byte) error
	// Over says that the host writes b now, or that it belongs to another value: what the device has of it counts no more.
	Over(b []byte)
	// Leave ends the run: what was not asked for is lost.
	Leave() error
}

// Traveller is a Memory of a run that has something on a device.
type Traveller interface{ Abroad() Abroad }

// Abroad is what the run has on the device.
func (l *lent) Abroad() Abroad { return l.mc.mem.abroad }

// home makes sure that the host has a value.
func (mc *machine) home(v tensor.Value) (err error) {
	if mc.mem.abroad == nil || v == nil {
		return nil
	}
	tensor.Each(v, func(t *tensor.Tensor) {
		if err == nil && len(t.Bytes()) > 0 {
			err = mc.mem.abroad.Home(t.Bytes())
		}
	})
	return err
}

// homeAll is home of several values, of no more elements each than most, -1: of any number.
func (mc *machine) homeAll(values []tensor.Value, most int64) error {
	if mc.mem.abroad == nil {
		return nil
	}
	for _, v := range values {
		if t, ok := v.(*tensor.Tensor); ok && most >= 0 && t != nil && t.Len() > most {
			continue
		}
		if err := mc.home(v); err != nil {
			return err
		}
	}
	return nil
}

// over says that memory gets other contents, by the host.
func (a *arena) over(b []byte) {
	if a.abroad != nil && len(b) > 0 {
		a.abroad.Over(b)
	}
}

// enter begins a run on a device with memory of its own.
func (mc *machine) enter() (err error) {
	if d, ok := mc.x.dev.(Distant); ok {
		mc.mem.abroad, err = d.Enter()
	}
	return err
}

// depart ends it. The memory of the run must be there until then.
func (mc *machine) depart() (err error) {
	if a := mc.mem.abroad; a != nil {
		mc.mem.abroad, err = nil, a.Leave()
	}
	return err
}
