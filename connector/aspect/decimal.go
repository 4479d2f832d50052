package aspect

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// at walks a decoded payload; groups are arrays of one element. It returns nil for what is not there.
func at(v any, path ...string) any {
	for _, name := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[name]
		if list, ok := v.([]any); ok && len(list) == 1 {
			v = list[0]
		}
	}
	return v
}

// number reads a number exactly, nil when there is none.
func number(v any) *big.Rat {
	n, ok := v.(json.Number)
	if !ok {
		return nil
	}
	r, _ := decimal(n)
	return r
}

// decimal reads a JSON number exactly; false when it is longer than is compared here.
func decimal(n json.Number) (*big.Rat, bool) {
	if e, ok := exponent(n); !ok || len(n) > maxDigits || e > maxExponent || e < -maxExponent {
		return nil, false
	}
	return new(big.Rat).SetString(n.String())
}

// exponent is what stands after the e, 0 when nothing does.
func exponent(n json.Number) (int, bool) {
	i := strings.IndexAny(n.String(), "eE")
	if i < 0 {
		return 0, true
	}
	e, err := strconv.Atoi(strings.TrimPrefix(n.String()[i+1:], "+"))
	return e, err == nil
}

var ten = big.NewInt(10)

// halfDigit is half of the last digit that the number was given with: 0.05 for 3.1, 0.5 for 3.
func halfDigit(n json.Number) *big.Rat {
	e, _ := exponent(n)
	mantissa, _, _ := strings.Cut(strings.ToLower(n.String()), "e")
	if _, fraction, ok := strings.Cut(mantissa, "."); ok {
		e -= len(fraction)
	}
	power := new(big.Int).Exp(ten, big.NewInt(int64(max(e, -e))), nil)
	half := new(big.Rat).SetFrac(big.NewInt(1), big.NewInt(2))
	if e < 0 {
		return half.Quo(half, new(big.Rat).SetInt(power))
	}
	return half.Mul(half, new(big.Rat).SetInt(power))
}

// agrees compares a total, as it was given, with the sum of its parts: they may differ by a millionth, or by what rounding the total to
// its last digit takes, whichever is more.
func agrees(given json.Number, sum *big.Rat) bool {
	total, ok := decimal(given)
	if !ok {
		return false
	}
	diff := new(big.Rat).Sub(total, sum)
	allowed := new(big.Rat).Mul(new(big.Rat).Abs(total), big.NewRat(1, 1_000_000))
	if half := halfDigit(given); allowed.Cmp(half) < 0 {
		allowed = half
	}
	return diff.Abs(diff).Cmp(allowed) <= 0
}

// instant reads an xsd:dateTime; one without a zone is taken as UTC.
func instant(v any) (time.Time, bool) {
	s, _ := v.(string)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
