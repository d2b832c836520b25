package emu

import (
	"testing"

	"github.com/pitopt/pitopt/runtime/cuda/driver"
	"github.com/pitopt/pitopt/runtime/cuda/driver/drivertest"
)

func TestDriver(t *testing.T) {
	for _, o := range []Options{{}, {Races: true, Seed: 3}, {Arch: 90, Workers: 2}} {
		drivertest.Run(t, func() (driver.Driver, error) { return New(o), nil })
	}
}
