//! Asking for a share: the one request that is good, and every change of it that is not.

use conclave_crypto::entropy::SeededEntropy;
use conclave_crypto::sharing::Share;
use conclave_proto::peer::ReleaseShareRequest;
use conclave_seal::exchange::{
    AnswerRefused, Ask, Giver, NONCE_GOOD_MS, NONCES_PER_ASKER, Nonce, Parties, Refusal, ask,
};
use conclave_seal::{DomainId, EpochNumber, RaftId, SealKind, ShareEpoch, ShareEpochs};

use crate::stage::{DOMAIN, Stage};

const ASKER: RaftId = RaftId(1);
const GIVER: RaftId = RaftId(2);
const PARTIES: Parties = Parties { asker: ASKER, giver: GIVER };

struct Play {
    epoch: ShareEpoch,
    epochs: ShareEpochs,
    root: conclave_crypto::Key,
    giver: Giver,
    entropy: SeededEntropy,
}

impl Play {
    fn new() -> Self {
        let stage = Stage::new(3, 1, 1);
        let (epochs, founding) = (stage.epochs(), stage.founding);
        Self {
            epoch: founding.epoch.clone(),
            epochs,
            root: founding.keyring.root().duplicate(),
            giver: Giver::new(DOMAIN, GIVER),
            entropy: SeededEntropy::from_number(5),
        }
    }

    fn share(&self, of: RaftId) -> Share {
        self.epoch.share_of(DOMAIN, &self.root, of).unwrap()
    }

    fn challenge(&mut self) -> Nonce {
        self.giver.challenge(ASKER, &self.epochs, 0, &mut self.entropy).unwrap()
    }

    fn ask(&mut self, nonce: &Nonce) -> (Ask, ReleaseShareRequest) {
        let own = self.share(ASKER);
        ask(&own, DOMAIN, self.epoch.number, PARTIES, nonce, &mut self.entropy)
    }

    fn check(&mut self, request: &ReleaseShareRequest) -> Result<(), Refusal> {
        self.giver.check(request, &self.epochs, 0).map(drop)
    }
}

#[test]
fn a_member_that_has_unwrapped_its_share_gets_the_givers() {
    let mut play = Play::new();
    let nonce = play.challenge();
    let (ask, request) = play.ask(&nonce);
    let release = play.giver.check(&request, &play.epochs, NONCE_GOOD_MS - 1).unwrap();
    assert_eq!((release.parties(), release.epoch()), (PARTIES, EpochNumber(1)));
    let given = play.share(GIVER);
    let response = release.answer(&given, &mut play.entropy).unwrap();
    let received = ask.receive(&response, &play.epoch).unwrap();
    assert!(received.x == given.x && received.y.ct_eq(&given.y));
    let root = play.epoch.combine(DOMAIN, &[received, play.share(ASKER)]).unwrap();
    assert!(root.ct_eq(&play.root));
}

#[test]
fn a_nonce_is_good_once_for_a_minute_and_for_its_asker_alone() {
    let mut play = Play::new();
    let nonce = play.challenge();
    let (_, request) = play.ask(&nonce);
    assert_eq!(play.check(&request), Ok(()));
    assert_eq!(play.check(&request), Err(Refusal::Nonce));

    let nonce = play.challenge();
    let (_, request) = play.ask(&nonce);
    let late = play.giver.check(&request, &play.epochs, NONCE_GOOD_MS).map(drop);
    assert_eq!(late, Err(Refusal::Nonce));

    let nonce = play.challenge();
    let other = ReleaseShareRequest { asker: 3, ..play.ask(&nonce).1 };
    assert_eq!(play.check(&other), Err(Refusal::Nonce));

    let (_, made_up) = play.ask(&[7; 32]);
    assert_eq!(play.check(&made_up), Err(Refusal::Nonce));

    let first = play.challenge();
    for _ in 0..NONCES_PER_ASKER {
        play.challenge();
    }
    let (_, request) = play.ask(&first);
    assert_eq!(play.check(&request), Err(Refusal::Nonce));
}

/// The signature covers everything that decides what is released, and to whom.
#[test]
fn a_proof_over_anything_else_is_refused() {
    type Change = fn(&mut Play, &Nonce) -> ReleaseShareRequest;
    let changes: [(&str, Change); 8] = [
        ("another member's share", |play, nonce| {
            let other = play.share(RaftId(3));
            ask(&other, DOMAIN, EpochNumber(1), PARTIES, nonce, &mut play.entropy).1
        }),
        ("meant for another giver", |play, nonce| {
            let parties = Parties { giver: RaftId(3), ..PARTIES };
            let own = play.share(ASKER);
            ask(&own, DOMAIN, EpochNumber(1), parties, nonce, &mut play.entropy).1
        }),
        ("by another asker", |play, nonce| {
            let parties = Parties { asker: RaftId(3), ..PARTIES };
            let own = play.share(ASKER);
            let (_, request) = ask(&own, DOMAIN, EpochNumber(1), parties, nonce, &mut play.entropy);
            ReleaseShareRequest { asker: 1, ..request }
        }),
        ("of another domain", |play, nonce| {
            let own = play.share(ASKER);
            let domain = DomainId([1; 16]);
            ask(&own, domain, EpochNumber(1), PARTIES, nonce, &mut play.entropy).1
        }),
        ("of another epoch", |play, nonce| {
            let own = play.share(ASKER);
            let (_, request) = ask(&own, DOMAIN, EpochNumber(2), PARTIES, nonce, &mut play.entropy);
            ReleaseShareRequest { epoch: 1, ..request }
        }),
        ("another nonce", |play, nonce| {
            let (_, request) = play.ask(&[0; 32]);
            ReleaseShareRequest { nonce: nonce.to_vec(), ..request }
        }),
        ("another HPKE key", |play, nonce| {
            let (_, request) = play.ask(nonce);
            let (_, other) = play.ask(nonce);
            ReleaseShareRequest { hpke_key: other.hpke_key, ..request }
        }),
        ("no signature", |play, nonce| ReleaseShareRequest {
            signature: Vec::new(),
            ..play.ask(nonce).1
        }),
    ];
    for (what, change) in changes {
        let mut play = Play::new();
        let nonce = play.challenge();
        let request = change(&mut play, &nonce);
        assert_eq!(play.check(&request), Err(Refusal::Proof), "{what}");
    }
}

#[test]
fn who_holds_no_share_gets_neither_nonce_nor_share() {
    let mut play = Play::new();
    for nobody in [RaftId(0), RaftId(4), GIVER] {
        let refused = play.giver.challenge(nobody, &play.epochs, 0, &mut play.entropy);
        assert_eq!(refused.unwrap_err(), Refusal::NotAHolder { raft_id: nobody });
    }
    // Removed between challenge and request: the committed epoch is what counts.
    let nonce = play.challenge();
    let (_, request) = play.ask(&nonce);
    let others = [RaftId(2), RaftId(3)];
    let (mut next, _) = ShareEpoch::deal(DOMAIN, EpochNumber(2), &play.root, &others).unwrap();
    let pending = ShareEpochs { pending: Some(next.clone()), ..play.epochs.clone() };
    others.iter().for_each(|other| next.acknowledge(*other, SealKind::Operator));
    let removed = ShareEpochs { complete: next, pending: None, owes_rotation: false };
    let refused = play.giver.check(&request, &removed, 0).map(drop);
    let (asked, newest) = (EpochNumber(1), EpochNumber(2));
    assert_eq!(refused, Err(Refusal::OtherEpoch { asked, newest }));

    // While the new dealing is pending, shares of either are given.
    let nonce = play.challenge();
    let (_, request) = play.ask(&nonce);
    assert_eq!(play.giver.check(&request, &pending, 0).unwrap().epoch(), EpochNumber(1));
}

#[test]
fn a_giver_answers_with_its_own_share_of_that_epoch_and_the_asker_takes_nothing_else() {
    let mut play = Play::new();
    let nonce = play.challenge();
    let (_, request) = play.ask(&nonce);
    let release = play.giver.check(&request, &play.epochs, 0).unwrap();
    let other = play.share(RaftId(3));
    assert_eq!(release.answer(&other, &mut play.entropy).map(drop), Err(Refusal::OwnShare));

    // A recorded answer to another request of the same asker does not open.
    let nonce = play.challenge();
    let (_, request) = play.ask(&nonce);
    let release = play.giver.check(&request, &play.epochs, 0).unwrap();
    let given = play.share(GIVER);
    let response = release.answer(&given, &mut play.entropy).unwrap();
    let (other_ask, _) = play.ask(&nonce);
    let refused = other_ask.receive(&response, &play.epoch).map(drop);
    assert_eq!(refused, Err(AnswerRefused::NotAuthentic));
}
