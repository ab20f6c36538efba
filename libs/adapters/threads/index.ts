export { createThreadTransport, type ThreadTransportOptions } from './transport.js';
export { serveMember, type MemberEquipment } from './serve.js';
