//! iceoryx2's publish-subscribe behind the same small interface, its regions in the run's private directory.

use iceoryx2::port::{publisher::Publisher, subscriber::Subscriber};
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use std::path::Path as FilePath;

/// The port and what must outlive it.
pub struct Port<P, const N: usize> {
    pub(crate) port: P,
    _service: PortFactory<ipc::Service, [u64; N], ()>,
    _node: Node<ipc::Service>,
}

/// Sending end; belongs to the thread that made it.
pub type Sender<const N: usize> = Port<Publisher<ipc::Service, [u64; N], ()>, N>;
/// Receiving end; belongs to the thread that made it.
pub type Receiver<const N: usize> = Port<Subscriber<ipc::Service, [u64; N], ()>, N>;

type Found<const N: usize> = (Node<ipc::Service>, PortFactory<ipc::Service, [u64; N], ()>);

fn service<const N: usize>(dir: &FilePath, name: &str) -> Result<Found<N>, Box<dyn std::error::Error>> {
    let mut config = Config::default();
    config.global.set_root_path(&Path::new(dir.to_string_lossy().as_bytes())?);
    config.global.prefix = FileName::new(prefix().as_bytes())?;
    let node = NodeBuilder::new().config(&config).create::<ipc::Service>()?;
    let name: ServiceName = name.try_into()?;
    let service = node.service_builder(&name).publish_subscribe::<[u64; N]>();
    let service = service.subscriber_max_buffer_size(crate::links::CAPACITY).max_publishers(1).max_subscribers(1);
    Ok((node, service.open_or_create()?))
}

/// What the names of its shared memory begin with.
fn prefix() -> String {
    format!("pillion_bench_{}_", std::process::id())
}

/// Removes what outlives its nodes in /dev/shm.
pub fn clean() {
    let files = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    for file in files.filter(|file| file.file_name().to_string_lossy().starts_with(&prefix())) {
        std::fs::remove_file(file.path()).ok();
    }
}

/// A publisher of `name`.
pub fn sender<const N: usize>(dir: &FilePath, name: &str) -> Result<Sender<N>, Box<dyn std::error::Error>> {
    let (node, service) = service(dir, name)?;
    Ok(Port { port: service.publisher_builder().create()?, _service: service, _node: node })
}

/// A subscriber of `name`.
pub fn receiver<const N: usize>(dir: &FilePath, name: &str) -> Result<Receiver<N>, Box<dyn std::error::Error>> {
    let (node, service) = service(dir, name)?;
    Ok(Port { port: service.subscriber_builder().create()?, _service: service, _node: node })
}
