package domain

import "github.com/google/uuid"

// The prefixes of ids on the wire.
const (
	PrefixMerchant     = "mer"
	PrefixAPIKey       = "key"
	PrefixPaymentToken = "ptk"
	PrefixPayment      = "pay"
	PrefixRefund       = "ref"
	PrefixOperation    = "op"
	PrefixEntry        = "ent"
	PrefixEndpoint     = "whe"
	PrefixEvent        = "evt"
	PrefixRequest      = "req"
)

// suffixLength is how many base32 characters hold 128 bits.
const suffixLength = 26

// alphabet is Crockford's base32 in lower case: no i, l, o, u.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// decoded holds the value of each character of the alphabet, and 0xff elsewhere.
var decoded = func() (table [256]byte) {
	for i := range table {
		table[i] = 0xff
	}
	for value, character := range []byte(alphabet) {
		table[character] = byte(value)
	}
	return table
}()

// NewID makes a UUIDv7, so that ids grow with time and an index stays dense. It panics where the machine has no randomness.
func NewID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// FormatID writes a TypeID: the prefix, `_` and the UUID in 26 characters.
func FormatID(prefix string, id uuid.UUID) string {
	var buffer [40]byte
	return string(AppendID(buffer[:0], prefix, id))
}

// AppendID appends a TypeID to dst.
func AppendID(dst []byte, prefix string, id uuid.UUID) []byte {
	dst = append(dst, prefix...)
	dst = append(dst, '_')
	// 26 characters of five bits are 130 bits: the first character holds two zero bits and the UUID's first three.
	bits, pending := uint32(0), 2
	for _, b := range id {
		bits = bits<<8 | uint32(b)
		pending += 8
		for pending >= 5 {
			pending -= 5
			dst = append(dst, alphabet[bits>>pending&31])
		}
	}
	return dst
}

// ParseID reads a TypeID with this prefix. Any 128 bits are an id: version and variant aren't checked.
func ParseID(prefix, text string) (uuid.UUID, bool) {
	if len(text) != len(prefix)+1+suffixLength || text[:len(prefix)] != prefix || text[len(prefix)] != '_' {
		return uuid.Nil, false
	}
	var id uuid.UUID
	suffix := text[len(prefix)+1:]
	bits, pending, next := uint32(0), -2, 0 // the first two bits are no part of the UUID
	if decoded[suffix[0]] > 7 {
		return uuid.Nil, false
	}
	for i := range suffixLength {
		value := decoded[suffix[i]]
		if value == 0xff {
			return uuid.Nil, false
		}
		bits = bits<<5 | uint32(value)
		pending += 5
		if pending >= 8 {
			pending -= 8
			id[next] = byte(bits >> pending)
			next++
		}
	}
	return id, true
}
