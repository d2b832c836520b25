package protocol

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pitopt/pitopt/core/pass"
)

// PassMessage describes a pass.
func PassMessage(p *pass.Pass) (*Pass, error) {
	out := &Pass{Name: p.Name, Doc: p.Doc, After: orderMessages(p.After), Before: orderMessages(p.Before)}
	for _, o := range p.Options {
		v, err := ValueMessage(o.Default)
		if err != nil {
			return nil, fmt.Errorf("pass %s: option %s: %v", p.Name, o.Name, err)
		}
		out.Options = append(out.Options, &Option{Name: o.Name, Kind: string(o.Kind), Doc: o.Doc, Default: v, Values: o.Values})
	}
	return out, nil
}

func orderMessages(list []pass.Order) (out []*Order) {
	for _, o := range list {
		out = append(out, &Order{Pass: o.Pass, Reason: o.Reason})
	}
	return out
}

// PassOf reads the description of a pass of the named plugin. Constraints on passes of
// the same plugin get its name. The caller sets Run.
func PassOf(plugin string, d *Description, msg *Pass) (*pass.Pass, error) {
	orders := func(list []*Order) (out []pass.Order) {
		for _, o := range list {
			name := o.GetPass()
			if slices.ContainsFunc(d.GetPasses(), func(p *Pass) bool { return p.GetName() == name }) {
				name = plugin + "/" + name
			}
			out = append(out, pass.Because(name, o.GetReason()))
		}
		return out
	}
	if strings.Contains(msg.GetName(), "/") {
		return nil, fmt.Errorf("the name of pass %q has a \"/\"", msg.GetName())
	}
	out := &pass.Pass{Name: plugin + "/" + msg.GetName(), Doc: msg.GetDoc(), After: orders(msg.GetAfter()), Before: orders(msg.GetBefore())}
	for _, o := range msg.GetOptions() {
		opt := pass.Option{Name: o.GetName(), Kind: pass.Kind(o.GetKind()), Doc: o.GetDoc(), Values: o.GetValues()}
		var err error
		if opt.Default, err = ValueOf(opt, o.GetDefault()); err != nil {
			return nil, fmt.Errorf("pass %s: %v", msg.GetName(), err)
		}
		out.Options = append(out.Options, opt)
	}
	return out, nil
}

// ValueMessage is the value of an option as a message.
func ValueMessage(v any) (*Value, error) {
	switch v := v.(type) {
	case bool:
		return &Value{Kind: &Value_Bool{Bool: v}}, nil
	case int64:
		return &Value{Kind: &Value_Int{Int: v}}, nil
	case time.Duration:
		return &Value{Kind: &Value_Int{Int: int64(v)}}, nil
	case float64:
		return &Value{Kind: &Value_Float{Float: v}}, nil
	case string:
		return &Value{Kind: &Value_String_{String_: v}}, nil
	case []string:
		return &Value{Kind: &Value_Strings{Strings: &Strings{Values: v}}}, nil
	}
	return nil, fmt.Errorf("a %T is no value of an option", v)
}

// ValueOf is a value of the option, in the Go type of its kind.
func ValueOf(o pass.Option, msg *Value) (any, error) {
	kind := o.Kind
	switch v := msg.GetKind().(type) {
	case *Value_Bool:
		if kind == pass.Bool {
			return v.Bool, nil
		}
	case *Value_Int:
		switch kind {
		case pass.Int, pass.Size:
			return v.Int, nil
		case pass.Duration:
			return time.Duration(v.Int), nil
		}
	case *Value_Float:
		if kind == pass.Float {
			return v.Float, nil
		}
	case *Value_String_:
		if kind == pass.String || kind == pass.Enum && slices.Contains(o.Values, v.String_) {
			return v.String_, nil
		}
	case *Value_Strings:
		if kind == pass.Strings {
			return v.Strings.GetValues(), nil
		}
	}
	return nil, fmt.Errorf("option %s takes no %v: its kind is %q", o.Name, msg, kind)
}
