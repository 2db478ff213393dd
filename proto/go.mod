module twinpay.dev/proto

go 1.26
