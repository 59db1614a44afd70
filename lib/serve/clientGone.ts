/** Why a request is aborted when its client closed the connection: nobody is there to be answered. */
export class ClientGone extends Error {
  constructor() {
    super('the client is gone');
  }
}
