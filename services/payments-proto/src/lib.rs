//! The wire contract of `proto/` as Rust types: messages, clients and servers. Generated; nothing is written by hand here.

#![expect(missing_docs, reason = "generated; the comments stand in proto/")]
#![expect(clippy::allow_attributes_without_reason, reason = "generated")]
#![expect(clippy::large_enum_variant, reason = "generated")]
#![expect(clippy::too_many_lines, reason = "generated")]

/// Everything in `proto/` as an encoded `google.protobuf.FileDescriptorSet`, comments included.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The payment service's own API.
pub mod payments {
    pub mod v1 {
        tonic::include_proto!("payments.v1");
    }
}

/// The card network's API.
pub mod acquirer {
    pub mod v1 {
        tonic::include_proto!("acquirer.v1");
    }
}
