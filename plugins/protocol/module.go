package protocol

import (
	"fmt"
	"os"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/irpb"
)

const (
	chunkBytes = 1 << 20 // of a stream of new constants
	maxNew     = 8 << 30 // bytes of new constants in one result
)

// Sent is a module on its way to a plugin.
type Sent struct {
	Module []byte
	Arena  *Arena
	bytes  [][]byte
	files  map[ir.Source][]byte
	file   *os.File
}

// Send makes the message of a module. Constants that lie in files go by their place,
// the others through the arena. Close gives the arena back, after the call.
func Send(m *ir.Module) (*Sent, error) {
	data, arena, err := irpb.Marshal(m)
	if err != nil {
		return nil, err
	}
	s := &Sent{Module: data, Arena: &Arena{}, bytes: arena, files: map[ir.Source][]byte{}}
	for _, c := range m.Consts {
		if c.Source != nil {
			s.files[*c.Source] = c.Tensor.Bytes()
		}
	}
	if len(arena) == 0 {
		return s, nil
	}
	if s.file, s.Arena.Path, err = arenaFile(arena); err != nil {
		return nil, diag.New(diag.Plugin, "cannot share %d constants with a plugin: %v", len(arena), err)
	}
	for _, b := range arena {
		s.Arena.Lengths = append(s.Arena.Lengths, int64(len(b)))
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

// Receive reads what came back: a result and the bytes of all chunks. The result may
// refer to what was sent and to nothing else: a plugin does not make its host read files.
func (s *Sent) Receive(r *Result, chunks []byte, lookup func(string) *ir.OpDef) (*ir.Module, error) {
	arena := make([][]byte, len(r.GetArena()))
	for i, x := range r.GetArena() {
		switch p := x.GetPlace().(type) {
		case *Slice_OfRequest:
			if int64(p.OfRequest) >= int64(len(s.bytes)) {
				return nil, fmt.Errorf("it refers to constant %d of the arena, which has %d", p.OfRequest, len(s.bytes))
			}
			arena[i] = s.bytes[p.OfRequest]
		case *Slice_Streamed:
			if p.Streamed < 0 || p.Streamed > int64(len(chunks)) {
				return nil, fmt.Errorf("it claims %d bytes for a constant, %d are there", p.Streamed, len(chunks))
			}
			arena[i], chunks = chunks[:p.Streamed:p.Streamed], chunks[p.Streamed:]
		default:
			return nil, fmt.Errorf("constant %d of its arena is nowhere", i)
		}
	}
	return irpb.Unmarshal(r.GetModule(), irpb.Options{Lookup: lookup, Arena: arena, File: func(src ir.Source) ([]byte, error) {
		if b, ok := s.files[src]; ok {
			return b, nil
		}
		return nil, fmt.Errorf("it is no part of the module that was sent")
	}})
}

// AddChunk puts one more chunk to those that came, within bounds.
func AddChunk(all, chunk []byte) ([]byte, error) {
	if len(all)+len(chunk) > maxNew {
		return nil, fmt.Errorf("its new constants take more than %d GiB", maxNew>>30)
	}
	return append(all, chunk...), nil
}

// Received is a module in a plugin, with what its constants view.
type Received struct {
	Module *ir.Module
	arena  [][]byte
	maps   map[string][]byte
}

// ReceiveRequest reads the module of a request. Its constants view mapped memory that
// Close gives back.
func ReceiveRequest(req *RunRequest, lookup func(string) *ir.OpDef) (*Received, error) {
	r := &Received{maps: map[string][]byte{}}
	if err := r.read(req, lookup); err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

func (r *Received) read(req *RunRequest, lookup func(string) *ir.OpDef) (err error) {
	if a := req.GetArena(); len(a.GetLengths()) > 0 {
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
	r.Module, err = irpb.Unmarshal(req.GetModule(), irpb.Options{Lookup: lookup, Arena: r.arena, File: func(src ir.Source) ([]byte, error) {
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
	result *Result
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
	a := &Answer{result: &Result{Module: data}}
	for _, b := range arena {
		if i, ok := sent[&b[0]]; ok && len(r.arena[i]) == len(b) {
			a.result.Arena = append(a.result.Arena, &Slice{Place: &Slice_OfRequest{OfRequest: uint32(i)}})
			continue
		}
		a.result.Arena = append(a.result.Arena, &Slice{Place: &Slice_Streamed{Streamed: int64(len(b))}})
		a.fresh = append(a.fresh, b)
	}
	return a, nil
}

// Send sends the answer: chunks of constants that are new, then the result.
func (a *Answer) Send(send func(*Event) error) error {
	for _, b := range a.fresh {
		for len(b) > 0 {
			n := min(len(b), chunkBytes)
			if err := send(&Event{Kind: &Event_Chunk{Chunk: b[:n]}}); err != nil {
				return err
			}
			b = b[n:]
		}
	}
	return send(&Event{Kind: &Event_Result{Result: a.result}})
}
