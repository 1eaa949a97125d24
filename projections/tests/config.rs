//! The config: what is read, and what is said about what cannot be.

use millstream_projections::config::Config;

#[test]
fn demo() {
    let text = include_str!("../../demo/millstream.toml");
    let config = Config::parse("demo/millstream.toml", text, &|_| None);
    match config {
        Ok(config) => println!("{config:#?}"),
        Err(errors) => panic!("{errors}"),
    }
    println!("{:#}", Config::schema());
    for bad in [
        "",
        "x = 1",
        "[source.a]\ntable='abc'\nstrat='latest'\n[projection.x]\nkind='replcia'\nfrom='b'",
        "[source.a]\ntable=5\n[projection.x]\nkind='copy'\nfrom='a'\nmatch={key={a='{b'}}\nset={}\nwhere='foo ==='\nzzz=1\nseet=5\n[state]\ntombstones='1d'\n[letters]\nstore={queue='x'}\n[pipeline]\nconcurrency='x'\nhold='25h'",
        "a = = 4\n[source\nb = ",
        "[source.a]\ntable='${FOO}x'\nqueue='${'\n[projection.x]\nkind='emit'\nfrom='a'\ninclude=['a',5,'ms:x']\ntopic='t'\n[letters]\nstore={dir='x'}",
    ] {
        println!(
            "-----\n{}",
            Config::parse("m.toml", bad, &|_| None).err().map(|e| e.to_string()).unwrap_or_default()
        );
    }
}
