package pitopt

import (
	"errors"
	"testing"
	"time"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/runtime"
)

// closing is a device that counts how often it is closed.
type closing struct {
	runtime.Device
	times *int
}

func (d closing) Close() error {
	*d.times++
	return d.Device.Close()
}

// A model that is not loaded gives its device back: a driver's memory would stay taken for good.
func TestFailedLoadClosesItsDevice(t *testing.T) {
	was, times := around, 0
	defer func() { around = was }()
	around = func(d runtime.Device) runtime.Device { return closing{was(d), &times} }
	no := errors.New("no")
	_, err := Load("examples/encoder/model.onnx", Observe(Observer{Imported: func(*ir.Module, time.Duration) error { return no }}))
	if !errors.Is(err, no) {
		t.Fatal(err)
	}
	if times != 1 {
		t.Errorf("the device is closed %d times", times)
	}
}
