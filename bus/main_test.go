package bus_test

import (
	"testing"

	"github.com/toolbus/toolbus/bus/bustest"
)

func TestMain(m *testing.M) { bustest.Main(m, children) }
