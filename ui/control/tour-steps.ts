export interface TourStep {
  strategy: string
  options: object
  title: string
  /** Before it is set up. */
  about: string
  /** What there is to see while everything runs. */
  running: string
  /** After the kill, where sessions were lost and where none was. */
  lost: string
  kept: string
}

export const TOUR: TourStep[] = [
  {
    strategy: 'isolated',
    options: { policy: 'sticky' },
    title: 'The problem: a server takes its sessions with it',
    about:
      'Most web applications keep sessions in the memory of the server. Here are a few such servers behind a gateway that always brings a visitor back to the same one.',
    running: 'Each visitor is bound to one server, and only that server knows the session. All is well, as long as nothing happens.',
    lost: 'Their log-ins and carts were in the memory of the dead server, and nowhere else. The next server takes them for strangers.',
    kept: 'You were lucky: nobody was bound to this server. Kill another one.',
  },
  {
    strategy: 'replication',
    options: {},
    title: 'First answer: every server has a copy',
    about: 'With replication each change of a session travels to the other servers before the visitor gets the answer.',
    running: 'Any server can answer any visitor: the gateway simply takes turns. The violet dots are copies on their way.',
    lost: 'Something went wrong: this should not happen. The event log tells more.',
    kept: 'The other servers had a copy of each session and went on. The price: every write travels to every server.',
  },
  {
    strategy: 'affinity',
    options: {},
    title: 'Second answer: one owner, one backup',
    about: 'With affinity a visitor is brought back to the server that owns the session. One other server keeps a backup.',
    running: 'Every server owns some of the sessions and keeps backups of others. There is less traffic between them than before.',
    lost: 'Something went wrong: this should not happen. The event log tells more.',
    kept: 'The gateway sent the visitors to the server with the backup, which owns their sessions now, and made new backups.',
  },
  {
    strategy: 'cookieBased',
    options: {},
    title: 'Third answer: the browser carries it',
    about: 'With cookies the session itself lies in the visitor’s browser, sealed so that nobody can read or change it.',
    running: 'The servers hold nothing, so there is nothing to copy. Each request brings its session along.',
    lost: 'Something went wrong: this should not happen. The event log tells more.',
    kept: 'The dead server had nothing to lose. The price: a session must stay small, and it travels with every request.',
  },
  {
    strategy: 'dedicated',
    options: {},
    title: 'Fourth answer: a store beside the servers',
    about: 'With a dedicated store the servers share one place for all sessions: a database or a cache.',
    running: 'Every request asks the store. Servers may come and go as they like.',
    lost: 'Something went wrong: this should not happen. The event log tells more.',
    kept: 'The sessions were never on the server. The price: the store is one more thing to run, and it must not fail.',
  },
]
