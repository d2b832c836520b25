package kernel

import (
	"fmt"
	"maps"
)

// use is what has been done to a buffer since the last barrier.
type use uint8

const (
	stored use = 1 << iota
	loaded
)

// order checks that between a store to a buffer and a load of it, whichever is first, there is
// a barrier: lanes need not be as far as each other, where they are threads.
func order(k *Kernel) error { return orderOf(k, k.Body, map[*Buffer]use{}) }

func orderOf(k *Kernel, b *Block, since map[*Buffer]use) error {
	for _, x := range b.List {
		switch x.Op {
		case OpBarrier:
			if x.N == 1 || k.Group == 0 { // else scratch is others' too
				clear(since)
			}
		case OpLoop:
			before := maps.Clone(since) // the loop may have no turns
			for range 2 {               // what a turn leaves is there in the next one
				if err := orderOf(k, x.Loop.Body, since); err != nil {
					return err
				}
				for m, u := range before {
					since[m] |= u
				}
			}
		case OpLoad, OpStore:
			own, other := loaded, stored
			if x.Op == OpStore {
				own, other = stored, loaded
			}
			if x.Buf.Written && since[x.Buf]&other != 0 {
				return fmt.Errorf("there is no barrier between a load of %s and a store", x.Buf.Of.Name)
			}
			since[x.Buf] |= own
		}
	}
	return nil
}
