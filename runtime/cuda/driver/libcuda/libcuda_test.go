package libcuda

import (
	"testing"

	"github.com/pitopt/pitopt/runtime/cuda/driver/drivertest"
)

func TestDriver(t *testing.T) { drivertest.Run(t, Open) }

func TestStandIn(t *testing.T) { drivertest.StandIn(t, Built) }
