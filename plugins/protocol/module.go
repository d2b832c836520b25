package protocol

import (
	"fmt"
	"os"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/irpb"
)

// Sent is a module on its way to a plugin.
type Sent struct {
	module []byte
	arena  *Arena
	bytes  [][]byte // of the arena
	files  map[ir.Source][]byte
	file   *os.File
}

// Pack makes the messages of a module. Constants that lie in files go by their place,
// the others through the arena. Close gives the arena back, after the call.
func Pack(m *ir.Module) (*Sent, error) {
	data, arena, err := irpb.Marshal(m)
	if err != nil {
		return nil, err
	}
	s := &Sent{module: data, arena: &Arena{}, bytes: arena, files: map[ir.Source][]byte{}}
	for _, c := range m.Consts {
		if c.Source != nil {
			s.files[*c.Source] = c.Tensor.Bytes()
		}
	}
	if len(arena) == 0 {
		return s, nil
	}
	if s.file, s.arena.Path, err = arenaFile(arena); err != nil {
		return nil, diag.New(diag.Plugin, "cannot share %d constants with a plugin: %v", len(arena), err)
	}
	for _, b := range arena {
		s.arena.Lengths = append(s.arena.Lengths, int64(len(b)))
	}
	return s, nil
}

// Close gives the arena back.
func (s *Sent) Close() error {
	if s.file == nil {
		return nil
	}
	return closeArena(s.file)
}

// Send sends the start, which gets the parts that are about the module, and the chunks.
func (s *Sent) Send(start *Start, send func(*Request) error) error {
	start.ModuleBytes, start.Arena = int64(len(s.module)), s.arena
	if err := send(&Request{Kind: &Request_Start{Start: start}}); err != nil {
		return err
	}
	return inChunks(s.module, func(b []byte) error { return send(&Request{Kind: &Request_Module{Module: b}}) })
}

// Incoming is a module on its way back from a plugin.
type Incoming struct {
	sent   *Sent
	module buffer
	arena  []buffer
	next   int // of the arena: those before it are whole
}

// Expect starts with a result. The module may refer to what was sent and to what comes
// with it, and to nothing else: a plugin does not make its host read files.
func (s *Sent) Expect(r *Result) (*Incoming, error) {
	in := &Incoming{sent: s}
	var err error
	if in.module, err = moduleBuffer(r.GetModuleBytes()); err != nil {
		return nil, err
	}
	left := int64(maxNew)
	for i, x := range r.GetArena() {
		switch p := x.GetPlace().(type) {
		case *Slice_OfRequest:
			if int64(p.OfRequest) >= int64(len(s.bytes)) {
				return nil, fmt.Errorf("it refers to constant %d of the arena, which has %d", p.OfRequest, len(s.bytes))
			}
			in.arena = append(in.arena, full(s.bytes[p.OfRequest]))
		case *Slice_Streamed:
			if p.Streamed < 0 || p.Streamed > left {
				return nil, fmt.Errorf("its new constants take more than %d GiB", maxNew>>30)
			}
			left -= p.Streamed
			in.arena = append(in.arena, buffer{size: p.Streamed})
		default:
			return nil, fmt.Errorf("constant %d of its arena is nowhere", i)
		}
	}
	return in, nil
}

// Add takes a chunk.
func (in *Incoming) Add(e *Event) error {
	var rest []byte
	switch k := e.GetKind().(type) {
	case nil: // of a newer protocol, and no matter if we miss it
	case *Event_Module:
		rest = in.module.add(k.Module)
	case *Event_Constants:
		for rest = k.Constants; in.next < len(in.arena); in.next++ {
			if rest = in.arena[in.next].add(rest); in.arena[in.next].missing() > 0 {
				break
			}
		}
	default:
		return fmt.Errorf("what follows its result is no chunk")
	}
	if len(rest) > 0 {
		return fmt.Errorf("the chunks are longer than the result says")
	}
	return nil
}

// Module reads the module when all chunks are there.
func (in *Incoming) Module(lookup func(string) *ir.OpDef) (*ir.Module, error) {
	missing := in.module.missing()
	arena := make([][]byte, len(in.arena))
	for i := range in.arena {
		missing += in.arena[i].missing()
		arena[i] = in.arena[i].data
	}
	if missing > 0 {
		return nil, fmt.Errorf("%d bytes of it are missing", missing)
	}
	return irpb.Unmarshal(in.module.data, irpb.Options{Lookup: lookup, Arena: arena, File: func(src ir.Source) ([]byte, error) {
		if b, ok := in.sent.files[src]; ok {
			return b, nil
		}
		return nil, fmt.Errorf("it is no part of the module that was sent")
	}})
}

// ReadRequest reads what a host sends for a run.
func ReadRequest(recv func() (*Request, error)) (start *Start, module []byte, err error) {
	first, err := recv()
	if err != nil {
		return nil, nil, err
	}
	if start = first.GetStart(); start == nil {
		return nil, nil, fmt.Errorf("the first message is no start")
	}
	b, err := moduleBuffer(start.GetModuleBytes())
	if err != nil {
		return nil, nil, err
	}
	for b.missing() > 0 {
		r, err := recv()
		if err != nil {
			return nil, nil, fmt.Errorf("%d bytes of the module are missing: %w", b.missing(), err)
		}
		if rest := b.add(r.GetModule()); len(rest) > 0 {
			return nil, nil, fmt.Errorf("the chunks are longer than the start says")
		}
	}
	return start, b.data, nil
}

// Received is a module in a plugin, with what its constants view.
type Received struct {
	Module *ir.Module
	arena  [][]byte
	maps   map[string][]byte
}

// Unpack reads the module of a request. Its constants view mapped memory that Close
// gives back.
func Unpack(start *Start, module []byte, lookup func(string) *ir.OpDef) (*Received, error) {
	r := &Received{maps: map[string][]byte{}}
	if err := r.read(start, module, lookup); err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

func (r *Received) read(start *Start, module []byte, lookup func(string) *ir.OpDef) (err error) {
	if a := start.GetArena(); len(a.GetLengths()) > 0 {
		all, err := r.mapped(a.GetPath())
		if err != nil {
			return err
		}
		for _, n := range a.GetLengths() {
			if n < 0 || n > int64(len(all)) {
				return fmt.Errorf("the arena is shorter than the request says")
			}
			r.arena, all = append(r.arena, all[:n:n]), all[n:]
		}
	}
	r.Module, err = irpb.Unmarshal(module, irpb.Options{Lookup: lookup, Arena: r.arena, File: func(src ir.Source) ([]byte, error) {
		all, err := r.mapped(src.File)
		if err != nil {
			return nil, err
		}
		if src.Offset < 0 || src.Length < 0 || src.Offset > int64(len(all))-src.Length {
			return nil, fmt.Errorf("%d bytes at %d are not in it", src.Length, src.Offset)
		}
		return all[src.Offset : src.Offset+src.Length : src.Offset+src.Length], nil
	}})
	return err
}

func (r *Received) mapped(path string) ([]byte, error) {
	if b, ok := r.maps[path]; ok {
		return b, nil
	}
	b, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	r.maps[path] = b
	return b, nil
}

// Close gives the mapped memory back; the module must not be used any more.
func (r *Received) Close() error {
	var first error
	for _, b := range r.maps {
		if err := unmapFile(b); err != nil && first == nil {
			first = err
		}
	}
	r.maps = nil
	return first
}

// Answer is a module on its way back.
type Answer struct {
	module []byte
	arena  []*Slice
	fresh  [][]byte // constants that the request did not have
}

// Answer makes the answer of the module as it is now. The error, for a module that does
// not hold together, has code Verifier.
func (r *Received) Answer() (*Answer, error) {
	data, arena, err := irpb.Marshal(r.Module)
	if err != nil {
		return nil, err
	}
	sent := map[*byte]int{}
	for i, b := range r.arena {
		if len(b) > 0 {
			sent[&b[0]] = i
		}
	}
	a := &Answer{module: data}
	for _, b := range arena {
		if i, ok := sent[&b[0]]; ok && len(r.arena[i]) == len(b) {
			a.arena = append(a.arena, &Slice{Place: &Slice_OfRequest{OfRequest: uint32(i)}})
			continue
		}
		a.arena = append(a.arena, &Slice{Place: &Slice_Streamed{Streamed: int64(len(b))}})
		a.fresh = append(a.fresh, b)
	}
	return a, nil
}

// Send sends the answer: the result, then its chunks.
func (a *Answer) Send(send func(*Event) error) error {
	if err := send(&Event{Kind: &Event_Result{Result: &Result{ModuleBytes: int64(len(a.module)), Arena: a.arena}}}); err != nil {
		return err
	}
	if err := inChunks(a.module, func(b []byte) error { return send(&Event{Kind: &Event_Module{Module: b}}) }); err != nil {
		return err
	}
	for _, c := range a.fresh {
		if err := inChunks(c, func(b []byte) error { return send(&Event{Kind: &Event_Constants{Constants: b}}) }); err != nil {
			return err
		}
	}
	return nil
}
