// The errors of this folder, one class per cause. Each says whether a retry can help and what the operator should do.

/** A service listens below 1024 and this process may not. */
export class ServicePortNotPermittedError extends Error {
  override readonly name = 'ServicePortNotPermittedError';
  readonly id = 'service-port-not-permitted';
  readonly retryable = false;
  readonly action = 'Give the service a port above 1023, or run the node as root or with CAP_NET_BIND_SERVICE.';
  constructor(service: string, port: number, options?: ErrorOptions) {
    super(`the service ${service} uses port ${port}, which this node may not listen on`, options);
  }
}

/** No local address had the service's ports free. */
export class ServiceAddressTakenError extends Error {
  override readonly name = 'ServiceAddressTakenError';
  readonly id = 'service-address-taken';
  readonly retryable = true;
  readonly action =
    'Find what listens on the port on all addresses of this box (ss -ltnp) and stop it, or give the service another port.';
  constructor(service: string, ports: readonly number[], addresses: string, options?: ErrorOptions) {
    super(`port ${ports.join(', ')} of the service ${service} is taken on ${addresses}`, options);
  }
}

/** A local address could not be listened on for a reason that no other address would cure. */
export class ServiceAddressError extends Error {
  override readonly name = 'ServiceAddressError';
  readonly id = 'service-address-failed';
  readonly retryable = true;
  readonly action = 'Read the cause: the box may be out of descriptors, or its loopback interface may be down.';
  constructor(service: string, address: string, options?: ErrorOptions) {
    super(`cannot listen for the service ${service} on ${address}`, options);
  }
}

/** What was asked of the service network goes beyond a limit. */
export class ServiceNetworkLimitError extends Error {
  override readonly name = 'ServiceNetworkLimitError';
  readonly id = 'service-network-limit';
  readonly retryable = false;
  readonly action = 'Split the application, or let the microservice call fewer services.';
}

/** `attach` on a service network that does not run. */
export class ServiceNetworkStoppedError extends Error {
  override readonly name = 'ServiceNetworkStoppedError';
  readonly id = 'service-network-stopped';
  readonly retryable = false;
  readonly action = 'Start the node first.';
  constructor() {
    super('the service network does not run');
  }
}

/** The credential of an instance is not its own, or cannot be used. */
export class WorkloadCredentialError extends Error {
  override readonly name = 'WorkloadCredentialError';
  readonly id = 'workload-credential';
  readonly retryable = true;
  readonly action =
    'Wait for the node to get an authority that covers the service; if it does not, see `selvedge describe`.';
}

/** The tunnel's server has no address to listen on. */
export class TunnelListenError extends Error {
  override readonly name = 'TunnelListenError';
  readonly id = 'tunnel-listen';
  readonly retryable = true;
  readonly action = 'Choose another port for the tunnel, or 0 for any.';
}

/** No session with the node that runs the called instance. */
export class TunnelUnreachableError extends Error {
  override readonly name = 'TunnelUnreachableError';
  readonly id = 'tunnel-unreachable';
  readonly retryable = true;
  readonly action = 'Check that the nodes see each other on the tunnel port (`selvedge nodes describe` lists links).';
}

/** Somebody else answered in the place of the called workload. */
export class TunnelPeerError extends Error {
  override readonly name = 'TunnelPeerError';
  readonly id = 'tunnel-peer';
  readonly retryable = false;
  readonly action = 'Find out what answers at that address: it did not prove to be the called workload.';
}

/** The called node refused the call. */
export class TunnelRefusedError extends Error {
  override readonly name = 'TunnelRefusedError';
  readonly id = 'tunnel-refused';
  readonly action = 'See the events of the called node: they name the caller and the reason.';
  readonly retryable: boolean;
  readonly status: number;
  constructor(status: number, reason: string) {
    super(`the called node refused the call: ${reason || `status ${status}`}`);
    this.status = status;
    this.retryable = status !== 403;
  }
}

/** What came on a stream of datagrams is none of them. The stream ends; the caller's next datagram begins another one. */
export class CapsuleError extends Error {
  override readonly name = 'CapsuleError';
  readonly id = 'capsule';
  readonly retryable = true;
  readonly action = 'Compare the versions of both nodes: one of them sends what the other cannot read.';
}

/** Another key than the expected one answered at the address. */
export class PeerMismatchError extends Error {
  override readonly name = 'PeerMismatchError';
  readonly id = 'peer-mismatch';
  readonly retryable = false;
  readonly action = 'Check the address: another node, or somebody who pretends to be one, answers there.';
  readonly expected: string;
  readonly found: string;
  constructor(expected: string, found: string) {
    super(`expected peer ${expected}, but ${found} answered`);
    this.expected = expected;
    this.found = found;
  }
}

/** No address of the peer answered. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';
  readonly id = 'peer-unreachable';
  readonly retryable = true;
  readonly action = 'Check that the node runs, that its port is open, and that this box has a route to it.';
}

/** There is no connection to the peer, or the mesh is not running. */
export class NotConnectedError extends Error {
  override readonly name = 'NotConnectedError';
  readonly id = 'peer-not-connected';
  readonly retryable = true;
  readonly action = 'Wait until the node is connected again; `selvedge status` says what is in the way.';
}

/** The peer does not serve the protocol to us: not admitted, or it has no such protocol. */
export class ProtocolRefusedError extends Error {
  override readonly name = 'ProtocolRefusedError';
  readonly id = 'protocol-refused';
  readonly retryable = true;
  readonly action = 'Check that this node is admitted and not revoked, and that both run compatible versions.';
}

/** The stream ended before everything on it had arrived. */
export class StreamResetError extends Error {
  override readonly name = 'StreamResetError';
  readonly id = 'stream-reset';
  readonly retryable = true;
  readonly action = 'None: the caller opens a new stream. When it repeats, look at the link in `selvedge status`.';
}

/** A frame, or what waits to be sent, is larger than the limit. */
export class FrameTooLargeError extends Error {
  override readonly name = 'FrameTooLargeError';
  readonly id = 'frame-too-large';
  readonly retryable = false;
  readonly action = 'Split what is sent: a document or file is larger than one message may be.';
}

/** The node cannot listen where it was told to. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  readonly id = 'mesh-listen-failed';
  readonly retryable = true;
  readonly action = 'Choose another port, or stop the program that holds it.';
}

/** The identity key is not an Ed25519 key in PKCS#8 PEM. */
export class IdentityKeyError extends Error {
  override readonly name = 'IdentityKeyError';
  readonly id = 'identity-key-unusable';
  readonly retryable = false;
  readonly action = 'Restore the identity file of the data folder from a backup, or remove it to join as a new node.';
}

/** The box could not be given the addresses that containers call services at. */
export class LocalRangeError extends Error {
  override readonly name = 'LocalRangeError';
  readonly id = 'local-range-failed';
  readonly retryable = true;
  readonly action =
    'Run the node as root or with CAP_NET_ADMIN and install iproute2 (`ip`): containers that call services need a local route.';
  constructor(range: string, cause: unknown) {
    const { code, stderr, message } = cause as { code?: unknown; stderr?: string; message?: string };
    const reason = code === 'ENOENT' ? 'the command ip is not installed' : stderr?.trim() || message || 'unknown';
    super(`the addresses ${range} could not be made this box's own: ${reason}`, { cause });
  }
}

/** A peer that is reached through others was not reached. */
export class RouteError extends Error {
  override readonly name = 'RouteError';
  readonly id = 'route-failed';
  readonly retryable = true;
  readonly action =
    'See the ways and links of the node at which it ended (`selvedge topology`); ways are found anew as links come and go.';
  /** The node at which it ended. */
  readonly at: string;
  readonly reason: string;
  constructor(at: string, reason: string, cause?: unknown) {
    super(`the way through other nodes ended at ${at}: ${reason}`, { cause });
    this.at = at;
    this.reason = reason;
  }
}

/** Somebody else listens on the port that a gateway is to publish. */
export class GatewayPortTakenError extends Error {
  override readonly name = 'GatewayPortTakenError';
  readonly id = 'gateway-port-taken';
  readonly retryable = true;
  readonly action =
    'Find what listens on the port (ss -ltnp) and stop it, or give the Gateway another port or address.';
  constructor(port: number, address: string | undefined, options?: ErrorOptions) {
    super(`port ${port}${address === undefined ? '' : ` of ${address}`} is taken on this node`, options);
  }
}

/** A gateway listens below 1024 and this process may not. */
export class GatewayPortNotPermittedError extends Error {
  override readonly name = 'GatewayPortNotPermittedError';
  readonly id = 'gateway-port-not-permitted';
  readonly retryable = false;
  readonly action = 'Give the Gateway a port above 1023, or run the node as root or with CAP_NET_BIND_SERVICE.';
  constructor(port: number, options?: ErrorOptions) {
    super(`this node may not listen on port ${port}`, options);
  }
}

/** A gateway cannot listen, and it is not the port. */
export class GatewayAddressError extends Error {
  override readonly name = 'GatewayAddressError';
  readonly id = 'gateway-address-failed';
  readonly retryable = true;
  readonly action = 'Give the Gateway an address of the node, or none for all; read the cause.';
  constructor(address: string | undefined, cause: unknown) {
    const { message } = cause as { message?: string };
    super(`cannot listen on ${address ?? 'the addresses of this node'}: ${message ?? 'unknown'}`, { cause });
  }
}

/** Certificate and key of a gateway cannot be used. */
export class GatewayTlsError extends Error {
  override readonly name = 'GatewayTlsError';
  readonly id = 'gateway-tls-unusable';
  readonly retryable = false;
  readonly action = 'Put a certificate chain (leaf first) and its key into the Secret, both as PEM.';
  constructor(cause: unknown) {
    const { message } = cause as { message?: string };
    super(`its certificate and key cannot be used: ${message ?? 'unknown'}`, { cause });
  }
}
