package usecase

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"

	"github.com/google/uuid"
)

// canonical is a request as a sequence of netstrings, which is hashed to tell two requests under one key apart.
type canonical []byte

func newCanonical(operation string, path ...string) canonical {
	c := make(canonical, 0, 384).netstring(operation)
	for _, id := range path {
		c = c.netstring(id)
	}
	return c
}

func (c canonical) netstring(text string) canonical {
	c = append(strconv.AppendInt(c, int64(len(text)), 10), ':')
	return append(append(c, text...), ',')
}

func (c canonical) text(name, value string) canonical { return c.netstring(name).netstring(value) }

func (c canonical) integer(name string, value int64) canonical {
	return c.text(name, strconv.FormatInt(value, 10))
}

func (c canonical) metadata(metadata map[string]string) canonical {
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		c = c.text("metadata."+key, metadata[key])
	}
	return c
}

func (c canonical) hash() []byte {
	sum := sha256.Sum256(c)
	return sum[:]
}

// peppered is HMAC-SHA256 under the pepper.
func (p *Payments) peppered(parts ...[]byte) []byte {
	return keyed(p.Pepper[:], parts...)
}

// keyed is HMAC-SHA256.
func keyed(key []byte, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range parts {
		mac.Write(part)
	}
	return mac.Sum(nil)
}

func (p *Payments) pepperedHex(secret []byte) string { return hex.EncodeToString(p.peppered(secret)) }

// provisionID is the operation id under which the card network is asked for a token: a retry asks under the same one, another card never
// does.
func (p *Payments) provisionID(merchantID uuid.UUID, key string, requestHash []byte) uuid.UUID {
	var zero = []byte{0}
	id := uuid.UUID(p.peppered([]byte("provision"), zero, merchantID[:], []byte(key), zero, requestHash)[:16])
	id[6] = id[6]&0x0f | 0x70 // version 7
	id[8] = id[8]&0x3f | 0x80 // the variant of RFC 9562
	return id
}
